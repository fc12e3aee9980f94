"""Searchable PDF of real scans: which of the lines that `predict` reads does a reader of PDF find at their place?

    python bench/searchable.py SCAN... --model MODEL [--keep FOLDER] [--pdftotext]

Each scan is read as `predict` reads it, and made a PDF by `ocrmypdf --plugin welllog_ocr.ocrmypdf`. A line counts as found when its characters, without blanks, stand one after the other among those characters of the PDF whose middle lies in its
box, a quarter of its height larger. The PDF is read by pypdfium2, or with --pdftotext word by word by `pdftotext -bbox` of poppler.
"""
import argparse, re, subprocess, sys, tempfile, time
from html import unescape
from pathlib import Path

import pypdfium2
from PIL import Image

from welllog_ocr.predict import predict
from welllog_ocr.read.backends import open_reader
from welllog_ocr.read.markup import page_size, scan_lines
from welllog_ocr.render import md_table

Image.MAX_IMAGE_PIXELS = None

def make_pdf(scan:Path, model:str, out:Path):
    with Image.open(scan) as img: dpi = [] if img.info.get('dpi') else ['--image-dpi', '200']
    command = ['ocrmypdf', '--plugin', 'welllog_ocr.ocrmypdf', '--welllog-model', model, '--output-type', 'pdf', '--max-image-mpixels', '0', '--jobs', '1', '--quiet', *dpi, str(scan), str(out)]
    subprocess.run(command, check=True)

def by_pdfium(pdf:Path): # Yields for each page ((width, height), [(text, x, y of its middle from the top)])
    with pypdfium2.PdfDocument(pdf) as doc:
        for page in doc:
            (w, h), text = page.get_size(), page.get_textpage()
            found = []
            for n in range(text.count_chars()):
                x0, y0, x1, y1 = text.get_charbox(n)
                found.append((text.get_text_range(n, 1).replace('\ufffe', '-'), (x0 + x1)/2, h - (y0 + y1)/2))
            yield (w, h), found

def by_pdftotext(pdf:Path):
    seen = subprocess.run(['pdftotext', '-bbox', str(pdf), '-'], check=True, capture_output=True, text=True).stdout
    for page in re.split(r'<page ', seen)[1:]:
        w, h = (float(re.search(f'{k}="([^"]+)"', page)[1]) for k in ('width', 'height'))
        words = re.findall(r'<word xMin="([^"]+)" yMin="([^"]+)" xMax="([^"]+)" yMax="([^"]+)">(.*?)</word>', page)
        yield (w, h), [(unescape(t), (float(a) + float(c))/2, (float(b) + float(d))/2) for a, b, c, d, t in words]

def plain(text:str)->str: return ''.join(text.split())

def lines_found(row:dict, size:tuple, found:list)->list[bool]:
    w, h = page_size(row)
    points = [(plain(t), x*w/size[0], y*h/size[1]) for t, x, y in found]
    out = []
    for l in scan_lines(row):
        xs, ys = zip(*l.corners)
        more = .25*min(max(xs) - min(xs), max(ys) - min(ys))
        inside = ''.join(t for t, x, y in points if min(xs) - more <= x <= max(xs) + more and min(ys) - more <= y <= max(ys) + more)
        out.append(plain(l.text) in inside)
    return out

def main(args):
    reader, table = open_reader(args.model), []
    with tempfile.TemporaryDirectory() as tmp:
        for n, scan in enumerate(args.scans):
            rows, pdf, began = list(predict(reader, [scan])), Path(args.keep or tmp)/f'{n}-{scan.stem[:20]}.pdf', time.monotonic()
            make_pdf(scan, args.model, pdf)
            took, pages = time.monotonic() - began, list((by_pdftotext if args.pdftotext else by_pdfium)(pdf))
            found = [ok for row, (size, chars) in zip(rows, pages) if 'error' not in row for ok in lines_found(row, size, chars)]
            table.append([scan.name[:24], 'x'.join(map(str, rows[0]['size'])), rows[0]['turns'], len(found), sum(found), f'{100*sum(found)/max(1, len(found)):.1f} %', f'{took:.0f}'])
    lines, ok = sum(r[3] for r in table), sum(r[4] for r in table)
    print(md_table(['scan', 'pixels', 'turns', 'lines', 'found', 'share', 'seconds'], [*table, ['all', '', '', lines, ok, f'{100*ok/max(1, lines):.1f} %', '']]))

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('scans', nargs='+', type=Path, metavar='SCAN')
    p.add_argument('--model', required=True)
    p.add_argument('--keep', metavar='FOLDER', help='keep the PDFs there')
    p.add_argument('--pdftotext', action='store_true', help='read the PDF by poppler')
    main(p.parse_args())
