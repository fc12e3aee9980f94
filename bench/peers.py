"""One table: Tesseract, RapidOCR, the untouched model and a fine-tuned one, on the same lines and the same pages.

    python bench/peers.py DATA --model runs/quick_val/best [--pages 0] [--only rapidocr ours] [--save FILE]

DATA holds `lines/eval` (and `lines/train`), as `train` reads them, and `pages`: whole sheets with a metadata.jsonl whose `scan` the lines name too. Each reader runs in a process of its own, so that its memory is its own; what is
not installed is named. The time of a reader is that of reading alone: it was warmed up by one picture, and files were decoded before.

A transcribed line counts as found when some stretch of a row of the page is similar to it by 80 of 100 or more (RapidFuzz's ratio), and as right when every letter and digit of it is there in order. Rows are made in the same way from
every reader's boxes. Lines of training wells were seen in training by a fine-tuned model, so wells that were not are counted apart.
"""
import argparse, json, re, resource, shutil, subprocess, sys, time
from pathlib import Path

READERS = ('tesseract', 'rapidocr', 'ours', 'fine-tuned')

# reading

def tesseract(args=None):
    "(reads lines into [(text, confidence)], reads a page into [(corners, text, confidence)])"
    if not shutil.which('tesseract'): raise SystemExit('tesseract is not installed (apt install tesseract-ocr)')
    import io
    from statistics import fmean
    def words(img, mode):
        "[(which line, x, y, width, height, text, confidence)]"
        out = io.BytesIO()
        img.save(out, 'PNG')
        said = subprocess.run(['tesseract', 'stdin', 'stdout', '--psm', mode, 'tsv'], input=out.getvalue(), capture_output=True, check=True).stdout.decode()
        rows = [r.split('\t') for r in said.splitlines()[1:]]
        return [(tuple(c[1:5]), *map(int, c[6:10]), c[11].strip(), float(c[10])/100) for c in rows if len(c) == 12 and c[11].strip()]
    said = lambda ws: (' '.join(w[5] for w in ws), fmean(w[6] for w in ws) if ws else 0.)
    def page(img):
        lines = {}
        for w in words(img, '3'): lines.setdefault(w[0], []).append(w)
        def corners(ws):
            x0, y0, x1, y1 = min(w[1] for w in ws), min(w[2] for w in ws), max(w[1] + w[3] for w in ws), max(w[2] + w[4] for w in ws)
            return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        return [(corners(ws), *said(ws)) for ws in lines.values()]
    return lambda imgs: [said(words(i, '7')) for i in imgs], page

def rapidocr(args=None):
    import numpy as np
    try: from rapidocr import RapidOCR
    except ModuleNotFoundError: raise SystemExit('rapidocr is not installed (pip install rapidocr onnxruntime)')
    engine = RapidOCR(params={'Global.log_level': 'error'})
    bgr = lambda img: np.ascontiguousarray(np.asarray(img.convert('RGB'))[..., ::-1])
    def line(img):
        found = engine(bgr(img), use_det=False, use_cls=False, use_rec=True)
        return (found.txts[0], float(found.scores[0])) if found.txts else ('', 0.)
    def page(img):
        found = engine(bgr(img), use_det=True, use_cls=True, use_rec=True)
        return [(q.tolist(), t, float(c)) for q, t, c in zip(found.boxes, found.txts, found.scores)] if found.txts else []
    return lambda imgs: [line(i) for i in imgs], page

def _ours(name):
    import numpy as np
    from welllog_ocr.read.detect import Detector
    from welllog_ocr.read.page import Page, _best, line_pictures
    from welllog_ocr.read.backends import open_reader
    read, finder = open_reader(name), Detector()
    def page(img):
        grey = np.asarray(img.convert('L'))
        boxes = finder(grey)
        pictures, owner = line_pictures(grey, boxes)
        best = _best(Page('', 0, {}, [s.quad for s in boxes], pictures, owner, img), read(pictures))
        return [(s.quad.tolist(), p.text, p.confidence) for s, p in zip(boxes, best) if p.text]
    return lambda imgs: [(p.text, p.confidence) for p in read([np.asarray(i) for i in imgs])], page

def reader(name, args): return dict(tesseract=tesseract, rapidocr=rapidocr).get(name, lambda a: _ours('PP-OCRv6-small' if name == 'ours' else a.model))(args)

# what is read

def transcribed(data:Path)->list[dict]:
    "Single lines of both splits"
    rows = [dict(json.loads(l), split=s) for s in ('train', 'eval') if (data/'lines'/s).is_dir() for l in open(data/'lines'/s/'metadata.jsonl', encoding='utf-8')]
    return [r for r in rows if r.get('kind', 'line') == 'line']

def child(args):
    "Read with one reader, and print what was read, how long it took and the memory"
    from welllog_ocr.data.scan import read_image
    lines, page = reader(args.child, args)
    wanted = [r for r in transcribed(args.data) if r['split'] == 'eval']
    imgs = [read_image(args.data/'lines'/'eval'/r['file_name']) for r in wanted]
    lines(imgs[:1])
    start = time.perf_counter()
    texts = [t for t, _ in lines(imgs)]
    out = dict(texts=texts, seconds=time.perf_counter() - start, pages={}, page_seconds=0.)
    del imgs
    for n, row in enumerate(pages(args)):
        img = read_image(args.data/'pages'/row['file_name'])
        if not n: page(img)
        start = time.perf_counter()
        out['pages'][row['scan']] = page(img)
        out['page_seconds'] += time.perf_counter() - start
    out['mb'] = max(resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))//1024
    print('RESULT' + json.dumps(out))

def pages(args)->list[dict]:
    table = args.data/'pages'/'metadata.jsonl'
    rows = [json.loads(l) for l in open(table, encoding='utf-8')] if table.is_file() else []
    return rows[:args.pages] if args.pages else rows

# figures

def letters(text:str)->str: return re.sub(r'[^0-9A-Za-z½¼¾⅛⅜⅝⅞]', '', text)

def stretches(found:list)->list[str]:
    "Every stretch of up to six boxes of a row"
    import numpy as np
    from welllog_ocr.read.layout import rows_of_boxes
    rows = rows_of_boxes([np.float32(q) for q, *_ in found])
    return sorted({' '.join(found[i][1] for i in row[a:a + n]) for row in rows for a in range(len(row)) for n in range(1, 7)})

def page_figures(out:dict, wanted:list)->dict:
    from rapidfuzz import fuzz
    near = {scan: stretches(found) for scan, found in out['pages'].items()}
    hits = []
    for r in wanted:
        want, texts = letters(r['text']), near.get(r['scan'])
        if texts is None or not want: continue
        similar = max((fuzz.ratio(' '.join(r['text'].split()), t) for t in texts), default=0)
        hits.append((r['split'], similar >= 80, any(want == letters(t) or len(want) > 3 and want in letters(t) for t in texts)))
    share = lambda k, split: (lambda h: sum(x[k] for x in h)/len(h) if h else None)([h for h in hits if not split or h[0] == split])
    n = sum(map(len, out['pages'].values()))
    return dict(n=len(hits), n_eval=sum(h[0] == 'eval' for h in hits), found=share(1, ''), right=share(2, ''), found_eval=share(1, 'eval'), right_eval=share(2, 'eval'), lines=n, per_s=n/out['page_seconds'] if out['page_seconds'] else None,
                s_page=out['page_seconds']/max(1, len(out['pages'])))

def line_figures(out:dict, wanted:list)->dict:
    from welllog_ocr.metrics import summarise
    rows = [r for r in wanted if r['split'] == 'eval']
    pick = lambda keep: summarise([dict(reference=r['text'], prediction=t) for r, t in zip(rows, out['texts']) if keep(r)])
    every, hand = pick(lambda r: True), pick(lambda r: r.get('style', r.get('made')) == 'handwritten')
    return dict(n=every['n'], cer=every['cer'], exact=every['exact'], n_hand=hand['n'], cer_hand=hand['cer'], exact_hand=hand['exact'], per_s=len(rows)/out['seconds'], mb=out['mb'])

def table(head:list, rows:list)->str:
    show = lambda v: v if isinstance(v, str) else '-' if v is None else f'{v:.1%}' if isinstance(v, float) and v <= 1.5 else f'{v:.1f}' if isinstance(v, float) else str(v)
    return '\n'.join('| ' + ' | '.join(map(show, r)) + ' |' for r in [head, ['---'] + ['---:']*(len(head) - 1), *rows])

def report(figures:dict)->str:
    "Both tables"
    lines = [[n, f['line']['n'], f['line']['cer'], f['line']['exact'], f['line']['cer_hand'], f['line']['exact_hand'], f'{f["line"]["per_s"]:.1f}', f['line']['mb']] for n, f in figures.items()]
    sheets = [[n, f['page']['n'], f['page']['found'], f['page']['right'], f['page']['n_eval'], f['page']['found_eval'], f['page']['right_eval'], f['page']['lines'], f'{f["page"]["per_s"]:.1f}', f'{f["page"]["s_page"]:.2f}'] for n, f in figures.items() if f['page']]
    parts = [table(['lines', 'n', 'CER', 'exact', 'CER handwritten', 'exact handwritten', 'lines/s', 'MB'], lines)]
    if sheets: parts.append(table(['pages', 'lines looked for', 'found', 'every letter right', 'of wells not trained on', 'found', 'every letter right', 'lines read', 'lines/s', 's a page'], sheets))
    return '\n\n'.join(parts)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data', type=Path)
    p.add_argument('--model', help='folder of a fine-tuned model, or an .onnx file that deploy made of it')
    p.add_argument('--pages', type=int, default=0, help='only so many pages [all]')
    p.add_argument('--only', nargs='+', choices=READERS, default=READERS)
    p.add_argument('--save', type=Path, help='file that gets the tables: bench/peers.md is shown in the README')
    p.add_argument('--child', help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.child: return child(args)
    wanted, figures = transcribed(args.data), {}
    for name in args.only:
        if name == 'fine-tuned' and not args.model: print('fine-tuned: left out, as no --model was given'); continue
        done = subprocess.run([sys.executable, __file__, str(args.data), '--child', name, '--pages', str(args.pages), *(['--model', args.model] if args.model else [])], capture_output=True, text=True)
        result = next((l for l in done.stdout.splitlines() if l.startswith('RESULT')), None)
        if not result: print(f'{name}: not measured: {(done.stderr.strip().splitlines() or ["it ended without a word"])[-1]}'); continue
        out = json.loads(result[6:])
        figures[name] = dict(line=line_figures(out, wanted), page=page_figures(out, wanted) if out['pages'] else None)
    print('\n' + report(figures))
    if args.save: args.save.write_text(report(figures) + '\n', encoding='utf-8')

if __name__ == '__main__': main()
