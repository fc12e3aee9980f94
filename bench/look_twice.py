"""A sheet of real and drawn header crops, mixed: can a person see which are which?

    python bench/look_twice.py REAL_FOLDER --out FILE.png [--n 20] [--seed 0]

REAL_FOLDER holds images with a metadata.jsonl, such as lines/train. The sheet numbers its crops; the key is printed, so look first and read then. The sheet shows
real scans, which may not be given on: do not commit it.
"""
import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from welllog_ocr.core import rng_for
from welllog_ocr.data.load import load_split
from welllog_ocr.draw.page import SynthCrops

WIDTH, SPACE, HEAD = 1800, 14, 16

def fitted(img:Image.Image, most:int=860)->Image.Image:
    img = img.convert('L')
    return img if img.width <= most else img.resize((most, max(1, img.height*most//img.width)), Image.BILINEAR)

def packed(images:list)->list: # (x, y) of each, and the height that they need
    "Rows of pictures, left to right"
    x = y = high = 0
    out = []
    for img in images:
        if x + img.width > WIDTH: x, y, high = 0, y + high + SPACE, 0
        out.append((x, y))
        x, high = x + img.width + SPACE, max(high, img.height + HEAD)
    return out, y + high

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('real', type=Path)
    p.add_argument('--out', type=Path, required=True)
    p.add_argument('--n', type=int, default=20, help='of each [20]')
    p.add_argument('--seed', type=int, default=0)
    args = p.parse_args()
    r = rng_for('look twice', args.seed)
    real = [s for s in load_split(args.real)[0] if s.kind == 'line']
    drawn = SynthCrops(8*args.n, f'look-{args.seed}')
    chosen = [('real', real[i]) for i in r.permutation(len(real))[:args.n]] + [('drawn', drawn[int(i)]) for i in r.permutation(len(drawn))[:args.n]]
    chosen = [chosen[i] for i in r.permutation(len(chosen))]
    images = [fitted(s.image) for _, s in chosen]
    places, height = packed(images)
    sheet = Image.new('L', (WIDTH, height), 205)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for n, (img, (x, y)) in enumerate(zip(images, places), 1):
        pen.text((x, y), str(n), fill=0, font=font)
        sheet.paste(img, (x, y + HEAD))
    sheet.save(args.out)
    for n, (kind, s) in enumerate(chosen, 1): print(f'{n:3} {kind:5} {s.style:12} {s.text}')

if __name__ == '__main__': main()
