"""Fields of whole sheets: what each model gets right, and how long a page takes.

    python bench/records.py PAGES TRUTH.jsonl --model fine-tuned=runs/quick_val/best untouched=PP-OCRv6-small [--splits eval train] [--output FOLDER] [--vocabulary FILE.toml]

PAGES is a folder of sheets; TRUTH.jsonl has a row for each (file_name, fields, runs, unsure, split), as `evaluate --fields` takes it. All sheets of the splits are read by each model, and their time is that of reading from the file to the
record, without loading the model. F1 is over cells: all, those of the title block, those of the run table. `coverage` is the share of the filled cells that can be taken over when 99 of 100 are to be right. Predictions stay in FOLDER, for
`evaluate --fields` and `bench/las.py`. Where `rapidocr` or `tesseract` stands for a model, that reader finds and reads the lines of the sheet (the right way up), our pairing makes a record of them, and it reads the doubtful cells on their own, as ours does.
"""
import argparse, tempfile, time
from pathlib import Path

import numpy as np
from PIL import Image

import peers
from welllog_ocr.eval.fields import coverage, figures, read_cells
from welllog_ocr.evaluate import _meaning
from welllog_ocr.files import read_jsonl, writable_dir, write_jsonl
from welllog_ocr.predict import predict
from welllog_ocr.read.backends import Read, open_reader
from welllog_ocr.read.page import first_reading, prepare_page, to_row
from welllog_ocr.render import md_table
from welllog_ocr.data.own_forms import use_vocabulary

OTHERS = dict(rapidocr=peers.rapidocr, tesseract=peers.tesseract)

def by_another(name:str): # Reads pages into rows
    "Another reader's boxes and texts under our pairing"
    lines, whole = OTHERS[name]()
    def rows(pages):
        for path in pages:
            page = prepare_page(path, 0, 'page')
            seen = whole(page.img)
            page.quads, page.owner = [np.float32(q) for q, *_ in seen], [(n, 0) for n in range(len(seen))]
            best, found = first_reading(page, [Read(t, c) for _, t, c in seen])
            second = [Read(t, c) for t, c in lines([Image.fromarray(p) for p in found.pictures])] if found else []
            yield to_row(page, best, found, second)
    return rows

def by_ours(model:str): # Reads pages into rows
    reader = open_reader(model)
    return lambda pages: predict(reader, pages, 'page', workers=1)

def read(model:str, pages:list, out:Path)->float: # Seconds a page
    rows = (by_another if model in OTHERS else by_ours)(model)
    list(rows(pages[:1])) # warm up
    start = time.perf_counter()
    write_jsonl(out, rows(pages))
    return (time.perf_counter() - start)/len(pages)

def line(name:str, split:str, cells:list, seconds:float)->list:
    part = lambda p: figures([c for c in cells if p in ('', c['part'])])
    f1 = [f'{part(p)["f1"]:.1%}' for p in ('', 'title', 'run')]
    span = part('')['interval']
    if span: f1[0] += ' ({:.1%} to {:.1%})'.format(*span)
    return [name, split, len({c['file_name'] for c in cells}), part('')['cells'], *f1, f'{part("")["value_recall"]:.1%}', f'{coverage(cells):.1%}', f'{seconds:.1f}']

def main(args):
    truth = [t for t in read_jsonl(args.truth) if t.get('split') in args.splits]
    pages = [args.pages/t['file_name'] for t in truth if (args.pages/t['file_name']).is_file()]
    if not pages: raise SystemExit(f'{args.pages}: has no sheet of {args.truth} in the splits {", ".join(args.splits)}')
    lines = []
    with tempfile.TemporaryDirectory() as tmp, use_vocabulary(args.vocabulary):
        folder = writable_dir(args.output or Path(tmp))
        for name, _, model in (m.rpartition('=') for m in args.model):
            out = folder/f'{name or Path(model).name}.jsonl'
            seconds = read(model, pages, out)
            lines += [line(out.stem, split, read_cells(args.truth, out, split, _meaning)[0], seconds) for split in args.splits]
    print(md_table(['model', 'sheets of', 'sheets', 'cells', 'F1', 'title block', 'runs', 'value right', 'coverage at 99 %', 'seconds a page'], lines, 'llr'))

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('pages', type=Path)
    p.add_argument('truth', type=Path)
    p.add_argument('--model', nargs='+', required=True, metavar='[NAME=]MODEL')
    p.add_argument('--splits', nargs='+', default=['eval', 'train'])
    p.add_argument('--output', type=Path)
    p.add_argument('--vocabulary', type=Path)
    main(p.parse_args())
