"""Seconds the doctor takes for a folder of line images: all checks, near duplicates among them.

    python bench/doctor_speed.py [--n 10000] [--drawn 2500]

Draws `--drawn` lines and fills up with worn copies of them (noise, one or two columns cut off), each copy in the split of its original, so that the search for near duplicates has something to do: the hard case.
With `--drawn` equal to `--n` there are no copies: the usual case. Drawing is not timed. Reading the folder (every image decoded once) and examining it are.
"""
import argparse, os, tempfile, time
from pathlib import Path

import numpy as np
from PIL import Image

from welllog_ocr.core import rng_for
from welllog_ocr.files import write_jsonl
from welllog_ocr.doctor import examine, read_splits
from welllog_ocr.draw.line import SynthLines

def worn(img, rng):
    "The same line, scanned again"
    x = np.asarray(img)[:, int(rng.integers(0, 3)):].copy()
    x[rng.random(x.shape, dtype=np.float32) < .004] ^= 255
    return Image.fromarray(x)

def write(folder:Path, n:int, drawn:int):
    "Lines and their copies, nine tenths in train"
    lines, rows = SynthLines(drawn, 'doctor'), dict(train=[], eval=[])
    images = {}
    for split in rows: (folder/split).mkdir(parents=True)
    for i in range(n):
        s, first = lines[i % drawn], i < drawn
        if first: images[i] = s.image
        img = images[i % drawn] if first else worn(images[i % drawn], rng_for('worn', i))
        split = 'eval' if i % drawn % 10 == 0 else 'train'
        img.save(folder/split/f'{i:06}.png')
        rows[split].append(dict(file_name=f'{i:06}.png', text=s.text, group=f'well {i % drawn}', style=s.style))
    for split in rows: write_jsonl(folder/split/'metadata.jsonl', rows[split])

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--n', type=int, default=10_000)
    p.add_argument('--drawn', type=int, help='lines that are drawn; the others are copies [a quarter of --n]')
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as d:
        write(Path(d)/'lines', args.n, args.drawn or args.n//4)
        start, cpu = time.perf_counter(), time.process_time()
        splits, skips = read_splits(Path(d)/'lines')
        read = time.perf_counter()
        report = examine(splits, skips)
        done = time.perf_counter()
        report.html(Path(d)/'report.html')
        end, cpu = time.perf_counter(), time.process_time() - cpu
        size = (Path(d)/'report.html').stat().st_size
    print(f'{args.n} images, {args.drawn or args.n//4} of them different; {os.cpu_count()} cores')
    print(f'read {read - start:.1f} s, examine {done - read:.1f} s, page {end - done:.1f} s ({size/1e3:.0f} kB), together {end - start:.1f} s; {cpu:.1f} s of processor time')
    print(f'near duplicates found: {sum(f.count for k, f in report.kinds.items() if k.startswith("near") or k == "alike")}; {report.summary}')

if __name__ == '__main__': main()
