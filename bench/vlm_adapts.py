"""From a tiny Qwen3-VL that has learned 64 drawn lines to 32 further ones: with LoRA, then with QLoRA.

    python bench/vlm_adapts.py [--base FOLDER] [--steps 200] [--lr 1e-2] [--r 16] [--first 250]

The base learns its lines with all its weights; `--base` names a folder where it lies, or is kept. Then it stays as it is, in float32 or with the language model in 4 bits, and an adapter alone is trained. Batches,
losses and optimizer steps are those of the trainer, the reading is that of the evaluation.
"""
import argparse, tempfile, time
from pathlib import Path

from vlm_learns import distinct

from welllog_ocr.config import TrainingConfig
from welllog_ocr.run.samples import RunData
from welllog_ocr.evaluate import evaluate, summarise
from welllog_ocr.models.vlm import tiny_chat
from welllog_ocr.models.core import load_recogniser
from welllog_ocr.run.step import Run, loaded, train_step

def cer(rec, lines): return summarise(evaluate(rec, lines, len(lines)))['cer']

def teach(rec, lines, steps, lr, optim='adamw', good=0., every=25):
    "Train on all lines at each step; say how the reading goes, and stop when it is good"
    with tempfile.TemporaryDirectory() as d:
        cfg = TrainingConfig(output_dir=d, per_device_train_batch_size=16, gradient_accumulation_steps=-(-len(lines)//16), max_batch_cost=-1, learning_rate=lr, warmup_steps=20, max_steps=steps, ema_decay=0., weight_decay=0., augment=0., optim=optim, seed=0)
        run, start = Run(cfg, rec, RunData(lines, lines, 0, 'adapt', [], [])), time.perf_counter()
        while run.step < steps:
            samples, plan = run.batches(run.epoch)
            for whole, micro in loaded(run, samples, plan): train_step(run, micro); run.step += 1
            run.epoch += 1
            if run.step % every == 0 or run.step == steps:
                now = cer(rec, lines)
                print(f'{run.step:4} {run.loss:6.3f} {now:7.2%} {time.perf_counter() - start:8.1f} s', flush=True)
                if now <= good: return now
    return now

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in dict(base='', steps=200, first=250, lr=1e-2, r=16, width=192, depth=3, pixels=16*1024).items(): p.add_argument(f'--{name}', type=type(default), default=default)
    args = p.parse_args()
    lines = distinct(96, 'learn')
    known, further = lines[:64], lines[64:]
    with tempfile.TemporaryDirectory() as d:
        folder = Path(args.base or d)/'base'
        if not folder.exists():
            rec = tiny_chat('qwen3_vl', 0, args.width, args.depth, min_pixels=args.pixels//2, max_pixels=args.pixels, instruction='Read.')
            rec.fit_language([s.text for s in lines])
            print(f'{sum(p.numel() for p in rec.parameters())/1e6:.1f} M weights, all trained on 64 lines\nstep   loss     CER')
            teach(rec, known, args.first, 1e-3)
            rec.save_pretrained(folder)
        for four in (False, True):
            rec = load_recogniser(str(folder), r=args.r, lora_alpha=args.r, load_in_4bit=four)
            n = sum(p.numel() for p in rec.trainable().values())
            print(f'{"QLoRA" if four else "LoRA"}: {n/1e3:.0f} k weights of rank {args.r} trained on 32 further lines, read so far with CER {cer(rec, further):.2%} (the first 64: {cer(rec, known):.2%})\nstep   loss     CER', flush=True)
            found = teach(rec, further, args.steps, args.lr, 'adamw_8bit' if four else 'adamw', good=.01)
            rec.save_pretrained(Path(args.base or d)/('qlora' if four else 'lora'))
            again = load_recogniser(str(Path(args.base or d)/('qlora' if four else 'lora')))
            print(f'{"QLoRA" if four else "LoRA"}: CER {found:.2%}; saved and loaded again {cer(again, further):.2%}', flush=True)

if __name__ == '__main__': main()
