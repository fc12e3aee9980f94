"""The top of a very tall scan: seconds and memory, against Pillow decoding the whole.

    python bench/tall_scan.py [--rows 3000] [--height 110000] [--rounds 5]

A bilevel fax TIFF of 1700 pixels in width is drawn here: a header of text, then tracks with grid and curves. It is saved in strips of 32 rows, as most scanners do, and as one single strip. Each way of
reading runs in processes of its own. Seconds are the median over the processes, from the call to a picture; memory is the peak, above the process before the call, and above a Python that has imported nothing.
"""
import argparse, json, statistics, subprocess, sys, tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

READ = """
import json, resource, sys, time
path, rows, way = sys.argv[1], int(sys.argv[2]), sys.argv[3]
peak = lambda: next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM'))/1024
bare = peak()
from PIL import Image
if way == 'ours':
    from welllog_ocr.data.scan import read_region
    read = lambda: read_region(path, 0, rows)
elif way == 'pyvips':
    import pyvips
    def read():
        img = pyvips.Image.tiffload(path, access='sequential')
        return Image.fromarray(img.crop(0, 0, img.width, rows).numpy())
else:
    Image.MAX_IMAGE_PIXELS = None # of this process alone
    def read():
        with Image.open(path) as img: return img.crop((0, 0, img.width, rows)).convert('L')
open('/proc/self/clear_refs', 'w').write('5') # the peak counts from here
before = peak()
start = time.perf_counter()
img = read()
print(json.dumps([time.perf_counter() - start, peak() - before, peak() - bare, sum(img.histogram()[:128])]))
"""

def draw(height:int)->Image.Image:
    "A header, then tracks"
    img = Image.new('1', (1700, height), 1)
    pen = ImageDraw.Draw(img)
    for y in range(60, 2400, 44):
        pen.line((60, y + 40, 1640, y + 40))
        for x in range(80, 1500, 400): pen.text((x, y), f'{x + 7*y:,} FIELD KB', fill=0, font_size=28)
    rng = np.random.default_rng(0)
    for y in range(2500, height, 20): pen.line((60, y, 1640, y), width=1 + 2*(y % 100 == 0))
    for x in (*range(60, 600, 54), *range(800, 1641, 42)): pen.line((x, 2500, x, height), width=2)
    for left, right in ((100, 560), (850, 1600), (850, 1600)):
        walk = np.cumsum(rng.normal(0, 30, (height - 2500)//8)) % (2*(right - left))
        walk = left + np.where(walk > right - left, 2*(right - left) - walk, walk)
        pen.line([(float(x), 2500 + 8*i) for i, x in enumerate(walk)], width=3)
    return img

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rows', type=int, default=3000)
    p.add_argument('--height', type=int, default=110_000)
    p.add_argument('--rounds', type=int, default=5)
    args = p.parse_args()
    img = draw(args.height)
    print(f'top {args.rows:,} rows of 1700 x {args.height:,}, median of {args.rounds} processes\n\n| file | way | seconds | MB for it | MB above a bare interpreter, imports and all |\n| --- | --- | ---: | ---: | ---: |')
    with tempfile.TemporaryDirectory() as d:
        for name, per in (('strips of 32 rows', 32), ('one strip', args.height)):
            path = Path(d)/f'{per}.tif'
            img.save(path, compression='group4', tiffinfo={278: per})
            ink = set()
            for way in ('ours', 'pyvips', 'Pillow'):
                found = []
                for _ in range(args.rounds):
                    done = subprocess.run([sys.executable, '-c', READ, str(path), str(args.rows), way], capture_output=True, text=True)
                    if done.returncode: break
                    found.append(json.loads(done.stdout))
                if not found: print(f'| {name} | {way} | {done.stderr.strip().splitlines()[-1]} | | |'); continue
                ink |= {f[3] for f in found}
                print(f'| {name}, {path.stat().st_size/1e6:.1f} MB | {way} | {statistics.median(f[0] for f in found):.3f} | {max(f[1] for f in found):.0f} | {max(f[2] for f in found):.0f} |')
            assert len(ink) == 1, 'the ways do not agree about the picture'

if __name__ == '__main__': main()
