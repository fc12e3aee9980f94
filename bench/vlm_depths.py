"""A tiny Qwen3-VL learns to read numbers that it has never seen: depths of 4 to 6 digits, from random weights.

    python bench/vlm_depths.py [--minutes 60] [--goal 0.05] [--held 300] [--width 128] [--layers 2] [--lr 1e-3] [--save FOLDER]

Every drawing is used once; a depth that is judged on is never trained on. Given six digits from the start such a model only learns how often each digit occurs, so it is taught as children are: one digit until it can read that, then
up to two, and so on. Batches, losses and optimizer steps are those of the trainer, the reading is that of the evaluation, in bfloat16 where the processor has it.
"""
import argparse, random, tempfile, time

import numpy as np
from PIL import Image

from welllog_ocr.config import TrainingConfig
from welllog_ocr.core import rng_for
from welllog_ocr.data.sample import Sample
from welllog_ocr.run.samples import RunData
from welllog_ocr.evaluate import evaluate, summarise
from welllog_ocr.models.vlm import tiny_chat
from welllog_ocr.draw.ink import Piece, face_for, wear, width, write
from welllog_ocr.run.step import Run, train_step

STYLES, BATCH, CAN = ('typewriter', 'sans', 'serif'), 32, .35 # CAN: mean loss of a token below which so many digits count as learned

def drawn(text:str, key:tuple)->Sample:
    "A number, typed or printed, as a scan has it"
    r = rng_for('depth', *key)
    size = r.uniform(16, 26)
    left, right, up, down = (size*r.uniform(.2, .6) for _ in range(4))
    p = Piece(text, face_for(text, STYLES, r), size, left, up + size, r.uniform(.85, 1.15), r.uniform(0, .06)*size)
    ink = np.zeros((round(up + size + down), round(left + width(p) + right)), np.uint8)
    write(ink, p, r)
    img = Image.fromarray(wear(255 - ink, r))
    return Sample('-'.join(map(str, key)), text, lambda: img, img.size, digest=text, group=text, kind='line')

def number(digits:int, r)->str: return str(r.randrange(10**(digits - 1), 10**digits)) if digits > 1 else str(r.randrange(10))

def lesson(most:int, done:int, held:set, r)->list[Sample]:
    "A batch of numbers of up to so many digits, a third of them or more of just so many"
    out = []
    while len(out) < BATCH:
        text = number(r.choice([most, most, *range(1, most + 1)]), r)
        if text not in held: out.append(drawn(text, ('train', done, len(out))))
    return out

def read(rec, samples)->dict: return summarise(evaluate(rec, samples, 64))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in dict(minutes=60., goal=.05, held=300, width=128, layers=2, lr=1e-3, pixels=10*1024, seed=0, every=250).items(): p.add_argument(f'--{name}', type=type(default), default=default)
    p.add_argument('--save', help='folder for the model')
    args = p.parse_args()
    r = random.Random(args.seed)
    held = [drawn(number(4 + i % 3, r), ('eval', i)) for i in range(args.held)]
    secret = {s.text for s in held}
    rec = tiny_chat('qwen3_vl', args.seed, args.width, args.layers, min_pixels=args.pixels//2, max_pixels=args.pixels, instruction='Read.')
    rec.fit_language([s.text for s in held])
    print(f'{sum(p.numel() for p in rec.parameters())/1e6:.1f} M weights; {len(held)} depths to be read, {len(secret)} different; untaught: CER {read(rec, held)["cer"]:.2%}\n step  digits   loss  minutes')
    with tempfile.TemporaryDirectory() as d:
        cfg = TrainingConfig(output_dir=d, per_device_train_batch_size=BATCH, max_batch_cost=-1, learning_rate=args.lr, lr_scheduler_type='constant_with_warmup', warmup_steps=50, max_steps=10**6, ema_decay=.99, weight_decay=0., augment=0., seed=args.seed)
        run = Run(cfg, rec, RunData(held, held, 0, 'depths', [], []))
        start, most, mean = time.perf_counter(), 1, 3.
        while (now := (time.perf_counter() - start)/60) < args.minutes:
            train_step(run, [rec.collate(lesson(most, run.step, secret, r))])
            run.step += 1
            mean += .03*(run.loss - mean)
            if mean < CAN and most < 6: most, mean = most + 1, 3.
            if run.step % args.every: continue
            with run.average.applied(): found = read(rec, held) if most > 3 else {}
            print(f'{run.step:5} {most:7} {mean:6.3f} {now:8.1f}', f'CER {found["cer"]:.2%}, whole numbers {found["exact"]:.1%}' if found else '', flush=True)
            if found and found['cer'] <= args.goal: break
        with run.average.applied():
            if args.save: rec.save_pretrained(args.save)

if __name__ == '__main__': main()
