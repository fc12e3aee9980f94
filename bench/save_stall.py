"""How long the training stands still for a checkpoint, against the Trainer of transformers saving the same state.

    python bench/save_stall.py [--rounds 5] [--million 50]

The same weights and AdamW moments in both. Ours stands still for the copy in memory, and writes in the background, each file forced to disk; the Trainer writes while the loop waits, and forces nothing.
Both are measured in each round, in turn; also what the whole of our save takes, until it is safe on the disk.
"""
import argparse, statistics, tempfile, time
from pathlib import Path

import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from welllog_ocr.run.checkpoint import Saver, Snapshot, cpu_copy, rng_state

class Model(nn.Module):
    def __init__(self, million:float):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(1000, 1000, bias=False) for _ in range(max(1, round(million))))
    def forward(self, x, labels=None): return dict(loss=sum(layer.weight.square().mean() for layer in self.layers))

def trainer_stall(trainer:Trainer)->float:
    start = time.perf_counter()
    trainer._save_checkpoint(trainer.model, trial=None)
    return time.perf_counter() - start

def our_stall(model:nn.Module, optimizer, saver:Saver, step:int)->tuple[float, float]:
    "Seconds until the loop may go on, and until the checkpoint is safe"
    start = time.perf_counter()
    moments = {f'{n}|{k}': v for n, p in model.named_parameters() for k, v in optimizer.state[p].items()}
    numbers, rng = rng_state()
    saver.submit(Snapshot(step, cpu_copy(dict(model.named_parameters())), cpu_copy({**moments, **rng}), dict(rng=numbers)))
    stall = time.perf_counter() - start
    saver.wait()
    return stall, time.perf_counter() - start

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--million', type=float, default=50, help='weights')
    args = p.parse_args()
    model, folder = Model(args.million), Path(tempfile.mkdtemp())
    trainer = Trainer(model, TrainingArguments(str(folder/'trainer'), max_steps=1, report_to=[], use_cpu=True, disable_tqdm=True, save_strategy='no', logging_strategy='no', save_total_limit=2),
                      train_dataset=[dict(x=torch.zeros(1))])
    trainer.train()
    optimizer = getattr(trainer.optimizer, 'optimizer', trainer.optimizer)
    saver = Saver(folder/'ours', 'bench', recent=2)
    theirs, ours, safe = [], [], []
    for step in range(1, args.rounds + 2):
        trainer.state.global_step = step
        a, (b, c) = trainer_stall(trainer), our_stall(model, optimizer, saver, step)
        if step > 1: theirs.append(a), ours.append(b), safe.append(c) # the first round warms up
    ratios = [b/a for a, b in zip(theirs, ours)]
    print(f'{args.million:g} M weights with AdamW moments, {12*args.million/1000:.2f} GB, {args.rounds} rounds')
    for name, found in (('Trainer: the loop stands still', theirs), ('ours: the loop stands still', ours), ('ours: until safe on disk', safe)): print(f'{name:32} {statistics.median(found):7.3f} s')
    print(f'ours / Trainer: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})')

if __name__ == '__main__': main()
