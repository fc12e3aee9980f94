"""Find the header of every scan in a folder, turn it the right way up, and put all of them on one sheet to look at.

    python bench/find_headers.py FOLDER --sheet FILE.png [--deskew]

Prints a line a file: where the header is, how it lay, how sure that is, and the seconds it took. The sheet shows, for each scan, its top with the header framed, and the header as it was set upright.
"""
import argparse, math, time
from pathlib import Path

from PIL import Image, ImageDraw

from welllog_ocr.core import DataError
from welllog_ocr.data.scan import read_region, scan_info
from welllog_ocr.data.orient import read_header

CELL = (560, 560) # pixels of a scan on the sheet: its top on the left, its header on the right

def cell(path:Path, head:Image.Image, found)->Image.Image:
    "Both pictures of one scan"
    out = Image.new('RGB', CELL, '#888')
    pen = ImageDraw.Draw(out)
    w, h = scan_info(path).size
    top = read_region(path, 0, min(h, int(2.5*w)))
    s = min(190/top.width, (CELL[1] - 24)/top.height)
    out.paste(top.convert('RGB').resize((int(top.width*s), int(top.height*s)), Image.Resampling.BOX), (4, 20))
    pen.rectangle((3, 20 + found.top*s, 4 + top.width*s, 20 + (found.top + found.height)*s), outline='red', width=2)
    t = min(350/head.width, (CELL[1] - 24)/head.height)
    out.paste(head.convert('RGB').resize((int(head.width*t), int(head.height*t)), Image.Resampling.BOX), (204, 20))
    pen.text((4, 4), f'{path.name[:40]}  turns {found.turns}  skew {found.skew}', fill='white')
    return out

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('folder', type=Path)
    p.add_argument('--sheet', type=Path, help='written as PNG')
    p.add_argument('--deskew', action='store_true', help='take out small skew too')
    args = p.parse_args()
    files, cells = sorted(f for f in args.folder.iterdir() if f.suffix.lower() in ('.tif', '.tiff', '.png', '.jpg', '.jpeg', '.webp', '.pdf')), []
    for path in files:
        start = time.perf_counter()
        try: head, found = read_header(path, deskew=args.deskew)
        except DataError as e: print(f'{path.name}: {e}'); continue
        print(f'{path.name[:44]:44} rows {found.top:5} to {found.top + found.height:5}  turns {found.turns}  skew {found.skew:5.2f}  sure {found.sure:.2f}  {time.perf_counter() - start:.2f} s', flush=True)
        if args.sheet: cells.append(cell(path, head, found))
    if not cells: return
    across = math.ceil(math.sqrt(len(cells)))
    sheet = Image.new('RGB', (across*CELL[0], math.ceil(len(cells)/across)*CELL[1]))
    for i, c in enumerate(cells): sheet.paste(c, (i % across*CELL[0], i//across*CELL[1]))
    sheet.save(args.sheet)
    print(f'{len(cells)} of {len(files)} headers are on {args.sheet}')

if __name__ == '__main__': main()
