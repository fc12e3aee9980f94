"""Header crops and pages drawn a second, on one core.

    OMP_NUM_THREADS=1 python bench/header_speed.py [--crops 1600] [--pages 10] [--rounds 3]

Crops are drawn as a training epoch draws them: each for the first time, in random order, sheets laid out as they are needed. Processor time, not the clock's. The table
shows the median and the range over the rounds; each round draws other headers.
"""
import argparse, platform, statistics, time

import cv2

from welllog_ocr.core import rng_for
from welllog_ocr.draw.page import SynthCrops
from welllog_ocr.draw.pages import SynthPages
from welllog_ocr.synth import SynthLines

def rate(samples, order)->float:
    start = time.process_time()
    for i in order: samples[int(i)].image
    return len(order)/(time.process_time() - start)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--crops', type=int, default=1600)
    p.add_argument('--pages', type=int, default=10)
    p.add_argument('--rounds', type=int, default=3)
    args = p.parse_args()
    cv2.setNumThreads(1)
    for warm in (SynthLines(30), SynthCrops(30), SynthPages(1, dpi=100)): rate(warm, range(len(warm)))
    ways = {'header crops': lambda n: rate(SynthCrops(args.crops, n), rng_for('order', n).permutation(args.crops)), 'lines': lambda n: rate(SynthLines(args.crops//2, n), range(args.crops//2)),
            **{f'pages at {dpi} dpi': lambda n, dpi=dpi: rate(SynthPages(args.pages, n, dpi=dpi), range(args.pages)) for dpi in (200, 300, 400)}}
    found = {name: [way(f'bench-{n}') for n in range(args.rounds)] for name, way in ways.items()}
    print(f'{platform.machine()}, Python {platform.python_version()}, OpenCV {cv2.__version__}\n\n| what | a second | range |\n|---|---:|---|')
    for name, rates in found.items(): print(f'| {name} | {statistics.median(rates):.1f} | {min(rates):.1f} to {max(rates):.1f} |')

if __name__ == '__main__': main()
