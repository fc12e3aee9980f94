"""A random Qwen3-VL of a few million weights learns 64 synthetic lines from their images alone, and reads them back by generation.

    python bench/vlm_learns.py [--arch qwen3_vl] [--lines 64] [--width 192] [--depth 3] [--steps 200] [--lr 1e-3] [--save FOLDER]

Batches, losses and optimizer steps are those of the trainer, the reading is that of the evaluation, in bfloat16 where the processor has it. Nothing but the image tells the lines
apart: a CER of 0 shows that template, mask, image path, loss and generation fit together. As a check, the same model then reads the images in another order against
the texts as they were: it must fail.
"""
import argparse, tempfile, time
from dataclasses import replace

from welllog_ocr.config import TrainingConfig
from welllog_ocr.run.samples import RunData
from welllog_ocr.evaluate import evaluate, summarise
from welllog_ocr.models.vlm import tiny_chat
from welllog_ocr.run.step import Run, loaded, train_step
from welllog_ocr.synth import SynthLines

def in_memory(sample):
    img = sample.image
    return replace(sample, load=lambda: img)

def distinct(n:int, series)->list:
    "The first `n` drawn lines with different texts"
    found = {}
    for s in SynthLines(10*n, series):
        found.setdefault(s.text, s)
        if len(found) == n: return [in_memory(s) for s in found.values()]

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in dict(arch='qwen3_vl', lines=64, width=192, depth=3, steps=200, lr=1e-3, seed=0, pixels=16*1024, every=25).items(): p.add_argument(f'--{name}', type=type(default), default=default)
    p.add_argument('--save', help='folder for the model')
    args = p.parse_args()
    lines = distinct(args.lines, 'learn')
    rec = tiny_chat(args.arch, args.seed, args.width, args.depth, min_pixels=args.pixels//2, max_pixels=args.pixels, instruction='Read.')
    rec.fit_language([s.text for s in lines])
    print(f'{args.arch}: {sum(p.numel() for p in rec.parameters())/1e6:.1f} M weights; {len(lines)} lines, {sum(map(rec.cost, lines))/len(lines):.0f} tokens each, the longest answer {max(len(s.text) for s in lines)} characters')
    with tempfile.TemporaryDirectory() as d:
        cfg = TrainingConfig(output_dir=d, per_device_train_batch_size=16, gradient_accumulation_steps=-(-len(lines)//16), max_batch_cost=-1, learning_rate=args.lr, warmup_steps=20, max_steps=args.steps, ema_decay=0., weight_decay=0., augment=0., seed=args.seed)
        run = Run(cfg, rec, RunData(lines, lines, 0, 'learn', [], []))
        start = time.perf_counter()
        cpu = time.process_time()
        print('step   loss     CER  seconds   of a core')
        while run.step < args.steps:
            samples, plan = run.batches(run.epoch)
            for whole, micro in loaded(run, samples, plan):
                train_step(run, micro)
                run.step += 1
            run.epoch += 1
            if run.step % args.every == 0 or run.step == args.steps:
                cer = summarise(evaluate(rec, lines, args.lines))['cer']
                print(f'{run.step:4} {run.loss:6.3f} {cer:7.2%} {time.perf_counter() - start:8.1f} {time.process_time() - cpu:11.1f}', flush=True)
                if cer == 0: break
        if args.save: rec.save_pretrained(args.save)
        turned = [replace(s, load=t.load, size=t.size) for s, t in zip(lines, lines[1:] + lines[:1])]
        print(f"images exchanged: CER {summarise(evaluate(rec, turned, args.lines))['cer']:.2%}")

if __name__ == '__main__': main()
