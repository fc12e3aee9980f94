"""Training lines a second: batches of similar width in bfloat16, as the trainer plans them, against the same model with plain shuffled batches.

    python bench/throughput.py [--rounds 3] [--lines 640]

All ways take turns within each round, on the same drawn lines; the ratio is that of one round, and the table shows the median and the range over the rounds.
A shuffled batch is padded to its widest line and taken whole. `float32, plain` is the model as transformers gives it; `channels last` has our memory format.
"""
import argparse, platform, statistics, time
from pathlib import Path

import torch

from welllog_ocr.config import load_config
from welllog_ocr.core import rng_for
from welllog_ocr.run.samples import run_data
from welllog_ocr.models.core import freeze
from welllog_ocr.models.ctc import CTCRecogniser, Folded, Folding
from welllog_ocr.run.step import Run, loaded, train_step

def published(model):
    "As transformers gives it: channels first, batch norms that do their own work, its own choice of attention"
    for m in model.modules():
        if isinstance(m, (Folding, Folded)): m.__class__ = type(m).__base__
        if getattr(m, '_supports_sdpa', False): m.config._attn_implementation = 'sdpa'
    return model.to(memory_format=torch.contiguous_format)

class Plain(CTCRecogniser):
    "As transformers gives it, with probabilities out"
    def __init__(self, *args):
        super().__init__(*args)
        self.model = published(self.model)

    def logits(self, pixels): return self.model(pixels).last_hidden_state.float().clamp(min=1e-12).log()

BASE = load_config(Path(__file__).parents[1]/'configs'/'base.py')
WAYS = { # name -> (class, similar widths together, bfloat16, frozen, batches a round)
    'similar widths, bfloat16':                  (CTCRecogniser, True, True, '', 20),
    'the same, first layers kept (base.py)':     (CTCRecogniser, True, True, BASE.freeze, 20),
    'shuffled, bfloat16':                        (CTCRecogniser, False, True, '', 8),
    'shuffled, float32, channels last':          (CTCRecogniser, False, False, '', 4),
    'shuffled, float32, plain':                  (Plain, False, False, '', 4),
}

def prepare(cls, similar:bool, bf16:bool, kept:str, lines:int):
    "A run, and the batches it takes"
    cfg = BASE.replace(freeze=kept, synth_lines=lines, synth_eval_lines=1, bf16=bf16, **({} if similar else dict(max_batch_cost=-1)))
    rec = cls.from_pretrained()
    freeze(rec, kept)
    run = Run(cfg, rec, run_data(cfg, rec))
    samples, plan = run.batches(0)
    if not similar:
        order = rng_for('bench').permutation(len(samples)).tolist()
        plan = [order[i:i + 16] for i in range(0, len(order), 16)]
    return run, samples, plan

def measure(run, samples, plan, n:int, turn:int)->float:
    "Lines a second over `n` batches"
    todo = [plan[(turn*n + i) % len(plan)] for i in range(n)]
    start, seen = time.perf_counter(), 0
    for whole, micro in loaded(run, samples, todo):
        train_step(run, micro)
        seen += len(whole)
    return seen/(time.perf_counter() - start)

def processor()->str:
    "What the ratio to float32 depends on most"
    lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').exists() else []
    find = lambda key: next((l.split(':', 1)[1].strip() for l in lines if l.startswith(key)), '')
    units = [f for f in ('amx_bf16', 'avx512_bf16') if f in find('flags').split()]
    return f'{find("model name") or platform.processor()}, bfloat16 by {" and ".join(units) or "emulation"},'

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--lines', type=int, default=640)
    args = p.parse_args()
    runs = {name: prepare(*how, args.lines) for name, (*how, _) in WAYS.items()}
    speed = {name: [] for name in WAYS}
    for turn in range(args.rounds + 1): # the first round prepares kernels and is not counted
        for name, (*_, n) in WAYS.items():
            found = measure(*runs[name], n if turn else max(1, n//2), turn)
            if turn: speed[name].append(found)
    first = speed[next(iter(WAYS))]
    print(processor(), f'{torch.get_num_threads()} threads')
    print(f'{"":40} {"lines/s":>8}  ours is faster by (range)')
    for name, found in speed.items():
        ratios = [a/b for a, b in zip(first, found)]
        print(f'{name:40} {statistics.median(found):8.2f}  {statistics.median(ratios):6.2f} ({min(ratios):.2f} to {max(ratios):.2f})')

if __name__ == '__main__': main()
