"""How long a page takes: this version against another checkout, a folder against its .onnx file, and RapidOCR, in one run.

    python bench/pages.py DATA --model runs/quick_val/best [--before CHECKOUT] [--onnx FILE.onnx] [--rounds 3] [--train TRUTH.jsonl] [--pages 0]

DATA holds `pages` with a metadata.jsonl, and `lines/train`, whose transcribed lines are looked for on the pages. `--before` is a folder with another version of the package, such as `git worktree add before COMMIT` makes. Each reader runs in a
process of its own, over all pages from file to row; the rounds are interleaved, so that all see the same machine, and the fastest round counts. Starting the program is left out: two pages are read before, and a folder is converted. Seconds are those
of the clock; CPU seconds are those of all threads. Lines are those with text; CER is that of the transcribed lines of the training wells in the nearest stretch of a row, so it is of use for comparing readers alone. With `--train` the fields are scored too.
"""
import argparse, json, os, resource, subprocess, sys, tempfile, time
from pathlib import Path

def transcribed(data:Path)->list[dict]:
    rows = [json.loads(l) for l in open(data/'lines'/'train'/'metadata.jsonl', encoding='utf-8')]
    return [r for r in rows if r.get('kind', 'line') == 'line']

def pages(data:Path, n:int)->list[Path]:
    "Sheets of training wells alone"
    known = {r['scan'] for r in transcribed(data)}
    rows = [json.loads(l) for l in open(data/'pages'/'metadata.jsonl', encoding='utf-8')]
    return [data/'pages'/r['file_name'] for r in rows if r['scan'] in known][:n or None]

def ours(model:str, paths:list): # Yields rows
    from welllog_ocr.predict import predict
    from welllog_ocr.read.backends import open_reader
    reader = open_reader(model)
    list(predict(reader, paths[:2], 'page'))
    yield
    yield from predict(reader, paths, 'page')

def rapidocr(paths:list):
    import numpy as np
    from rapidocr import RapidOCR
    from welllog_ocr.data.scan import read_image
    engine = RapidOCR(params={'Global.log_level': 'error'})
    def read(path):
        found = engine(np.ascontiguousarray(np.asarray(read_image(path).convert('RGB'))[..., ::-1]), use_det=True, use_cls=True, use_rec=True)
        return dict(file=str(path), lines=[dict(text=t, box=q.tolist()) for q, t in zip(found.boxes, found.txts)] if found.txts else [])
    for p in paths[:2]: read(p)
    yield
    yield from map(read, paths)

def child(args):
    paths = pages(args.data, args.pages)
    found = rapidocr(paths) if args.child == 'rapidocr' else ours(args.child, paths)
    next(found)
    start, cpu = time.perf_counter(), time.process_time()
    rows = list(found)
    out = dict(seconds=time.perf_counter() - start, cpu=time.process_time() - cpu, rows=rows, mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss//1024)
    Path(args.out).write_text(json.dumps(out))

def run(args, model:str, root:Path)->dict:
    with tempfile.TemporaryDirectory() as tmp:
        out = f'{tmp}/out.json'
        subprocess.run([sys.executable, __file__, str(args.data), '--child', model, '--out', out, '--pages', str(args.pages)], check=True, env=dict(os.environ, PYTHONPATH=str(root.resolve())))
        return json.loads(Path(out).read_text())

def cer(rows:list, wanted:list)->float:
    "Errors in the nearest stretch of a row of boxes, over the characters that were transcribed"
    from peers import stretches
    from rapidfuzz import process
    from rapidfuzz.distance import Levenshtein
    near = {Path(r['file']).stem: stretches([(l['box'], l['text']) for l in r['lines']]) for r in rows}
    texts = [(' '.join(r['text'].split()), near[r['scan']]) for r in wanted if r['scan'] in near]
    return sum(min(len(t), process.extractOne(t, s, scorer=Levenshtein.distance)[1] if s else len(t)) for t, s in texts)/sum(len(t) for t, _ in texts)

def f1(rows:list, truth:Path)->str:
    from welllog_ocr.eval.fields import figures, read_cells
    from welllog_ocr.evaluate import _meaning
    from welllog_ocr.files import write_jsonl
    with tempfile.TemporaryDirectory() as tmp:
        write_jsonl(found := Path(tmp)/'found.jsonl', rows)
        return f'{figures(read_cells(truth, found, "train", _meaning)[0])["f1"]:.1%}'

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data', type=Path)
    p.add_argument('--model', help='folder of a line recogniser')
    p.add_argument('--onnx', help='the .onnx file that deploy made of it')
    p.add_argument('--before', type=Path, help='folder with another version of the package')
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--pages', type=int, default=0, help='only so many pages [all]')
    p.add_argument('--train', type=Path, metavar='TRUTH.jsonl', help='fields of the sheets, as evaluate --fields takes them')
    p.add_argument('--no-rapidocr', action='store_true')
    p.add_argument('--child', help=argparse.SUPPRESS)
    p.add_argument('--out', help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.child: return child(args)
    from welllog_ocr.render import md_table
    here, versions = Path(__file__).parents[1], [('now', Path(__file__).parents[1]), *([('before', args.before)] if args.before else [])]
    readers = [(f'{kind}, {when}', model, root) for kind, model in (('folder', args.model), ('.onnx', args.onnx)) if model for when, root in versions]
    readers += [] if args.no_rapidocr else [('RapidOCR', 'rapidocr', here)]
    found = {name: [] for name, *_ in readers}
    for _ in range(args.rounds):
        for name, model, root in readers: found[name].append(run(args, model, root))
    wanted, lines = transcribed(args.data), []
    for name, rounds in found.items():
        best, rows = min(rounds, key=lambda r: r['seconds']), rounds[0]['rows']
        fields = f1(rows, args.train) if args.train and name != 'RapidOCR' else ''
        lines.append([name, len(rows), f'{best["seconds"]/len(rows):.2f}', f'{min(r["cpu"] for r in rounds)/len(rows):.2f}', sum(1 for r in rows for l in r['lines'] if l['text'].strip()),
                      f'{cer(rows, wanted):.1%}', fields, best['mb']])
    print(md_table(['reader', 'pages', 'seconds a page', 'CPU seconds', 'lines', 'CER', 'field F1', 'MB'], lines, 'lrrrrrrr'))

if __name__ == '__main__': main()
