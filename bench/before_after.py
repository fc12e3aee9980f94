"""A header as it is read before and after fine-tuning, as one picture.

    python bench/before_after.py --model runs/quick_val/best [--page 0] [--save nbs/images/before_after.png]

The header is drawn, with known truth, from a series that no training draws from. What a model read stands where it stands on the sheet; it is red where its letters and digits do not occur in that order in any row of the truth.
"""
import argparse, tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from peers import letters
from welllog_ocr.render import visible
from welllog_ocr.models.core import load_recogniser
from welllog_ocr.draw.page import SynthPages
from welllog_ocr.predict import predict
from welllog_ocr.read.layout import rows_of_boxes

def truth(page)->list[str]:
    "The rows of a drawn page, letters and digits alone"
    lines = page.info['lines']
    corners = [np.float32([(a, b), (c, b), (c, d), (a, d)]) for a, b, c, d in (l['box'] for l in lines)]
    return [letters(' '.join(lines[i]['text'] for i in row)) for row in rows_of_boxes(corners)]

def written(lines, size, scale, rows)->tuple[Image.Image, int]:
    "What was read, in its places; and how many lines are right"
    out, right = Image.new('RGB', (round(size[0]*scale), round(size[1]*scale)), 'white'), 0
    d = ImageDraw.Draw(out)
    for l in lines:
        xs, ys = zip(*[(x*scale, y*scale) for x, y in l['box']])
        good = any(letters(l['text']) in row for row in rows)
        right += good
        font = ImageFont.load_default(max(9, min(40, .8*(max(ys) - min(ys)))))
        font = font.font_variant(size=max(8, font.size*min(1, (max(xs) - min(xs) + 4)/max(1, font.getlength(l['text'])))))
        d.text((min(xs), min(ys)), visible(l['text']), fill=(30, 30, 30) if good else (200, 20, 30), font=font)
    return out, right

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--model', required=True), p.add_argument('--page', type=int, default=0), p.add_argument('--height', type=int, default=620)
    p.add_argument('--save', type=Path)
    args = p.parse_args()
    page = SynthPages(args.page + 1, 'before and after', dpi=150)[args.page]
    rows, scale = truth(page), 620/page.size[0]
    panels = [('the scan', page.image.convert('RGB').resize((round(page.size[0]*scale), round(page.size[1]*scale)), Image.LANCZOS))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/'page.png'
        page.image.save(path)
        for name, model in (('read by the untouched model', 'PP-OCRv6-small'), ('read after fine-tuning', args.model)):
            lines = next(iter(predict(load_recogniser(model), [path])))['lines']
            img, right = written(lines, page.size, scale, rows)
            panels.append((f'{name}: {right} of {len(lines)} lines right', img))
            print(panels[-1][0])
    if not args.save: return
    h, w = min(args.height, panels[0][1].height), panels[0][1].width
    out = Image.new('RGB', (3*w + 40, h + 34), 'white')
    d = ImageDraw.Draw(out)
    for k, (name, img) in enumerate(panels):
        out.paste(img.crop((0, 0, w, h)), (k*(w + 20), 34))
        d.text((k*(w + 20) + 4, 6), name, fill=(90, 90, 90), font=ImageFont.load_default(17))
    args.save.parent.mkdir(parents=True, exist_ok=True)
    out.save(args.save, optimize=True)

if __name__ == '__main__': main()
