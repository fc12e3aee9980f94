"""Labels far too short or too long for their pictures: how many does the doctor find, and how many right ones does it call wrong?

    python bench/label_lengths.py [--lines 3000] [--data FOLDER] [--model NAME]

Draws lines (or reads the train split of a folder), counts the alarms on their right labels, then gives every line a wrong label in each of several ways and counts those that are found.
With a model its readings are compared with the labels, without one the ink is.
"""
import argparse, time
from dataclasses import replace
from statistics import median

from welllog_ocr.data.checks import _by_ink, _by_reading, collect
from welllog_ocr.doctor import read_splits
from welllog_ocr.draw.line import SynthLines

LONG = 'Log measured from Kelly Bushing 11.7 feet above permanent datum, drilling likewise; see remarks'
WAYS = {'first letter alone':   lambda t: t[:1],
        'first two letters':    lambda t: t[:2],
        'a third of it':        lambda t: t[:max(1, len(t)//3)],
        'half of it':           lambda t: t[:max(1, len(t)//2)],
        'twice':                lambda t: f'{t} {t}',
        'four times':           lambda t: ' '.join([t]*4),
        'a sentence of its own': lambda t: LONG}
SIZES = (1, 3), (4, 6), (7, 12), (13, 24), (25, 99)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--lines', type=int, default=3000)
    p.add_argument('--seed', default='lengths')
    p.add_argument('--data', help='folder whose train split is used instead of drawn lines')
    p.add_argument('--model')
    args, reader = p.parse_args(), None
    if args.model:
        from welllog_ocr.read.backends import open_reader
        reader = open_reader(args.model)
    samples = read_splits(args.data)[0]['train'] if args.data else [*SynthLines(args.lines, args.seed)]
    start = time.perf_counter()
    rows  = [r for r in collect(dict(train=samples), reader=reader).seen if r.picture.letter and r.picture.inked]
    usual = median(len(r.sample.text)*r.picture.letter/r.picture.inked for r in rows)
    def found(r, text):
        r = r._replace(sample=replace(r.sample, text=text))
        return r.read and _by_reading(r) or _by_ink(r, len(text), usual)
    print(f'{len(rows)} lines, {usual:.2f} characters in the width of a letter\'s height; measured in {time.perf_counter() - start:.1f} s')
    alarms = [(r, f) for r in rows if (f := found(r, r.sample.text))]
    print(f'right labels that raise an alarm: {len(alarms)}')
    for r, f in alarms[:20]: print(f'    {r.where}  {f[0]}: {f[1]}  {r.sample.text!r}  {r.sample.style} read {r.read!r}')
    print('\n| wrong label | ' + ' | '.join(f'{a} to {b} characters' for a, b in SIZES) + ' |\n| --- |' + ' ---: |'*len(SIZES))
    for way, change in WAYS.items():
        cells = []
        for a, b in SIZES:
            of = [r for r in rows if a <= len(r.sample.text) <= b and change(r.sample.text).strip() not in ('', r.sample.text)]
            cells.append(f'{sum(bool(found(r, change(r.sample.text).strip())) for r in of)/len(of):.0%} of {len(of)}' if of else '')
        print(f'| {way} | ' + ' | '.join(cells) + ' |')

if __name__ == '__main__': main()
