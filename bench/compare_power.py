"""How often `compare` is right about 135 lines: does it see a real difference, and none where two readers differ by seed only?

    python bench/compare_power.py [--repeats 1000] [--wells 15]

Readers are drawn, with known truth. A line has a difficulty: well times line, both uneven, as faint carbon and odd typefaces make it. Each character is misread with that difficulty times the rate of the reader.
Two trainings of one model share most of their errors: `shared` is the part of the misreadings that is decided by the line, the same for both readers, and not by the seed.
"""
import argparse

import numpy as np

from welllog_ocr.eval.stats import paired

LENGTHS = (6, 9, 12, 17, 22, 30, 41) # characters of header lines
SHARED = (0., .5, .8)

def drawn(rng, wells:int, lines:int, rates, shared:float, well_spread:float=.5, line_spread:float=1.):
    "Errors and units of each line for readers with these true character error rates, and the well of each line"
    well = np.arange(lines) % wells
    hard = (rng.lognormal(-well_spread**2/2, well_spread, wells)[well]*rng.lognormal(-line_spread**2/2, line_spread, lines))
    n = rng.choice(LENGTHS, lines)
    common = [rng.random(k) for k in n]
    readers = []
    for rate in rates:
        errors = [(np.where(rng.random(k) < shared, c, rng.random(k)) < min(1, rate*h)).sum() for k, c, h in zip(n, common, hard)]
        readers.append(np.stack([np.array(errors, float), n], 1))
    return readers, well.tolist()

def distinguished(repeats:int, wells:int, lines:int, rates, shared:float, seed:int=0, draws:int=2000)->tuple[float, float]: # Share told apart; share of these with the wrong sign
    "How often two readers are found to differ"
    rng, found = np.random.default_rng(seed), []
    for _ in range(repeats):
        (a, b), groups = drawn(rng, wells, lines, rates, shared)
        d = paired(a, b, groups, n=draws)
        found.append(np.sign(d.value) if d.real else 0)
    found = np.array(found)
    return float((found != 0).mean()), float((found == np.sign(rates[0] - rates[1])).mean())

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--repeats', type=int, default=1000)
    p.add_argument('--wells', type=int, default=15)
    p.add_argument('--lines', type=int, default=135)
    args = p.parse_args()
    print(f'{args.lines} lines of {args.wells} wells, {args.repeats} repeats; share of pairs that were found to differ (with the wrong one in front)')
    print('| CER of both readers | ' + ' | '.join(f'{s:.0%} of the errors shared' for s in SHARED) + ' |\n| --- |' + ' ---: |'*len(SHARED))
    for rates in ((.05, .05), (.05, .045), (.05, .04), (.05, .03), (.03, .02), (.02, .01)):
        cells = [distinguished(args.repeats, args.wells, args.lines, rates, s) for s in SHARED]
        print(f'| {rates[0]:.1%} and {rates[1]:.1%}' + (', seed only' if rates[0] == rates[1] else '') + ' | ' + ' | '.join(f'{t:.1%}' + (f' ({w:.1%})' if rates[0] != rates[1] else '') for t, w in cells) + ' |', flush=True)

if __name__ == '__main__': main()
