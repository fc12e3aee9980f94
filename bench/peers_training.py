"""Training lines a second beside the Trainer of Hugging Face, and the error rate after the same minutes beside kraken.

    python bench/peers_training.py speed [--rounds 3] [--lines 240]
    python bench/peers_training.py kraken DATA --ketos /path/to/ketos [--minutes 10]

speed: the same model (PP-OCRv6 small), the same drawn lines, the same optimizer settings, 16 lines a step, all ways in turns within each round. The Trainer once with its defaults (float32, shuffled, every batch filled up to its widest
line) and once with the best that it offers for this (bfloat16, lines grouped by length; no loader process, one, two); ours as configs/base.py has it and with one loader process, without keeping layers as they are, so that all train the same weights. After a first
step, which is not counted, each way takes as many steps as the lines make batches.

kraken: `ketos train` from nothing on DATA/lines/train for so many minutes, then its error rate on DATA/lines/eval. ketos is called as a program, so it may live in an environment of its own. Ours, in the same minutes:
python -m welllog_ocr.train --config configs/experiments/quick_val.py --data_path DATA/lines
"""
import argparse, json, statistics, subprocess, sys, tempfile, time
from pathlib import Path

BATCH = 16

def published(model):
    "As transformers gives it: channels first, batch norms that do their own work, its own choice of attention"
    import torch
    from welllog_ocr.models.ctc import Folded, Folding
    for m in model.modules():
        if isinstance(m, (Folding, Folded)): m.__class__ = type(m).__base__
        if getattr(m, '_supports_sdpa', False): m.config._attn_implementation = 'sdpa'
    return model.to(memory_format=torch.contiguous_format)

def trainer_speed(samples, best:bool, workers:int, folder)->float:
    "Lines a second of the Trainer"
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments
    from welllog_ocr.models.ctc import CTCRecogniser, filled

    class Lines(torch.utils.data.Dataset):
        def __init__(self, rec): self.costs = [rec.cost(s) for s in samples]
        def __len__(self): return len(samples)
        def __getitem__(self, i): return dict(input_ids=range(self.costs[i]), at=i) # its length is what group_by_length asks for

    class Wrapped(torch.nn.Module):
        def __init__(self, rec): super().__init__(); self.rec = rec
        def forward(self, groups, targets, refused):
            sums, tokens = self.rec.losses(dict(groups=groups, targets=targets, refused=refused))
            return dict(loss=sums.sum()/tokens.sum())

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **kw):
            if state.global_step == 1: self.start = time.perf_counter()
            self.took = time.perf_counter() - self.start

    rec, clock = CTCRecogniser.from_pretrained(), Clock()
    rec.model = published(rec.model)
    widest = lambda rows: max(filled(len(r['input_ids'])) for r in rows)
    args = TrainingArguments(output_dir=str(folder), per_device_train_batch_size=BATCH, max_steps=1 + len(samples)//BATCH, learning_rate=1e-4, save_strategy='no', report_to=[], remove_unused_columns=False, disable_tqdm=True, logging_strategy='no', use_cpu=not torch.cuda.is_available(),
                             dataloader_num_workers=workers, **(dict(bf16=True, train_sampling_strategy='group_by_length') if best else {}))
    Trainer(Wrapped(rec), args, data_collator=lambda rows: rec.collate([samples[r['at']] for r in rows], widest(rows)), train_dataset=Lines(rec), callbacks=[clock]).train()
    return len(samples)//BATCH*BATCH/clock.took

def base(lines:int):
    "configs/base.py, with every layer trained"
    from welllog_ocr.config import load_config
    return load_config(Path(__file__).parents[1]/'configs'/'base.py').replace(freeze='', synth_lines=lines, synth_eval_lines=1)

def our_speed(samples, workers:int)->float:
    "Lines a second of this project's own step"
    from welllog_ocr.run.samples import run_data
    from welllog_ocr.models.ctc import CTCRecogniser
    from welllog_ocr.run.step import Run, loaded, train_step
    cfg = base(len(samples)).replace(dataloader_num_workers=workers)
    rec = CTCRecogniser.from_pretrained()
    run = Run(cfg, rec, run_data(cfg, rec))
    drawn, plan = run.batches(0)
    for i, (whole, micro) in enumerate(loaded(run, drawn, (plan*2)[:1 + len(plan)])):
        train_step(run, micro)
        if not i: start = time.perf_counter()
    return len(samples)/(time.perf_counter() - start)

def speed(args):
    from welllog_ocr.run.samples import run_data
    from welllog_ocr.models.ctc import CTCRecogniser
    from welllog_ocr.run.step import Run
    cfg, rec = base(args.lines), CTCRecogniser.from_pretrained()
    samples, _ = Run(cfg, rec, run_data(cfg, rec)).batches(0) # the very lines that ours trains on
    ways = {'Trainer, defaults': (False, 0), 'Trainer, bf16 and grouped, no process': (True, 0), 'Trainer, bf16 and grouped, one process': (True, 1), 'Trainer, bf16 and grouped, two processes': (True, 2)}
    ours = {'ours, no process': 0, 'ours, one process': 1}
    found = {name: [] for name in [*ways, *ours]}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds):
            for name, (best, workers) in ways.items(): found[name].append(trainer_speed(samples, best, workers, folder))
            for name, workers in ours.items(): found[name].append(our_speed(samples, workers))
    best = max(ours, key=lambda name: statistics.median(found[name]))
    print(f'| way | lines/s | range | {best}, is faster by | range |\n| --- | ---: | ---: | ---: | ---: |')
    for name, v in found.items():
        times = [o/x for o, x in zip(found[best], v)] # of each round
        print(f'| {name} | {statistics.median(v):.1f} | {min(v):.1f} to {max(v):.1f} | {statistics.median(times):.2f} | {min(times):.2f} to {max(times):.2f} |')

def pairs(folder:Path, into:Path)->list[Path]:
    "Lines as pictures with a text file beside each, as ketos wants them"
    from welllog_ocr.data.scan import read_image
    into.mkdir(parents=True)
    out = []
    for row in map(json.loads, open(folder/'metadata.jsonl', encoding='utf-8')):
        if row.get('kind', 'line') != 'line': continue
        out.append(into/f'{Path(row["file_name"]).stem}.png')
        read_image(folder/row['file_name']).save(out[-1])
        out[-1].with_suffix('.gt.txt').write_text(row['text'], encoding='utf-8')
    return out

def kraken(args):
    with tempfile.TemporaryDirectory() as folder:
        train, held = (pairs(args.data/'lines'/s, Path(folder)/s) for s in ('train', 'eval'))
        command = [args.ketos, '--threads', '2', 'train', '-f', 'path', '-o', f'{folder}/model', '-q', 'fixed', '-N', '100000', *map(str, train)]
        print('ketos train on', len(train), 'lines:', ' '.join(command[:10]), '...', flush=True)
        start = time.monotonic()
        try: done = subprocess.run(command, capture_output=True, text=True, timeout=args.minutes*60)
        except subprocess.TimeoutExpired: done = None # as planned: its time is over
        if done and done.returncode: sys.exit(f'ketos ended by itself: {done.stderr.strip()[-600:]}')
        models = sorted((p for p in Path(folder).rglob('*') if p.suffix in ('.mlmodel', '.safetensors', '.ckpt')), key=lambda p: p.stat().st_mtime)
        print(f'{len(models)} models after {(time.monotonic() - start)/60:.1f} minutes')
        if models:
            found = subprocess.run([args.ketos, 'test', '-f', 'path', '-m', str(models[-1]), *map(str, held)], capture_output=True, text=True).stdout
            print(*[l for l in found.splitlines() if 'ccuracy' in l or 'Errors' in l or l.split('\t')[-1].strip() in ('Characters',)][:8], sep='\n')

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest='what', required=True)
    s = sub.add_parser('speed')
    s.add_argument('--rounds', type=int, default=3), s.add_argument('--lines', type=int, default=240)
    k = sub.add_parser('kraken')
    k.add_argument('data', type=Path), k.add_argument('--ketos', default='ketos'), k.add_argument('--minutes', type=float, default=10)
    args = p.parse_args()
    speed(args) if args.what == 'speed' else kraken(args)

if __name__ == '__main__': main()
