"""Do 100 picked lines help a model more than 100 random ones?

    python bench/picking.py LINES [LINES ...] [--sheets PAGES FIELDS.jsonl] --model runs/quick_val/best --work FOLDER [--n 100] [--seeds 5] [--folds 3] [--output bench/picking.md]

LINES are folders of labelled lines, all of them to learn from (name a `train` folder, never one of evaluation lines). PAGES are pictures of whole sheets, and FIELDS.jsonl is what stands on them, cell by cell: the model reads those of the split `train`, and what it found is
reviewed by the truth as a person would do it, and cut into more lines. The model, which has seen none of them, reads all; for each seed the wells are dealt into folds anew. Of the wells of the other folds, n lines
are picked by `read.picking.pick_lines` from what the model has read, and n lines at random; the same model learns from each, in the same short way: the same steps, the same drawn lines beside, the output head alone (the backbone stays as it is, so
its features are computed once). Both then read the held-out wells by the best path, without the n-gram language model. A seed is won when the CER over all held-out wells is lower with the picked lines. The interval is a paired bootstrap over wells.
The same command goes on where it was cut off.
"""
import argparse, math
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers.modeling_outputs import BaseModelOutput

from welllog_ocr.core import rng_for
from welllog_ocr.data.labels import well_key
from welllog_ocr.data.load import load_split
from welllog_ocr.data.sample import of_kind
from welllog_ocr.draw.wear import augment
from welllog_ocr.eval.fields import page_cells, same
from welllog_ocr.eval.predictions import evaluate, sample_row
from welllog_ocr.eval.stats import difference
from welllog_ocr.files import read_jsonl, writable_dir, write_jsonl
from welllog_ocr.metrics import METRICS, summarise
from welllog_ocr.models.core import load_recogniser
from welllog_ocr.models.preprocess import to_pixels
from welllog_ocr.predict import predict
from welllog_ocr.read.picking import pick_lines
from welllog_ocr.read.reviewed import open_review_of, write_lines
from welllog_ocr.render import md_table
from welllog_ocr.review.places import Scans
from welllog_ocr.run.samples import drawn_lines
from welllog_ocr.run.step import EMA

VARIANTS, DRAWN = 3, 240         # augmented copies of each line; drawn lines to learn beside
STEPS, REAL, BESIDE = 40, 6, 2   # of a training; real and drawn lines in a batch
RATE = 1e-3
ANOTHER = .6 # CER of the crop of a value: above it the crop shows something else, such as a neighbour or a part

def review_sheet(session, n:int, truth:dict):
    "Mark the values of a sheet as a person would; those that the truth is not sure of, or has in another cell, have no mark"
    values, record = {v.place: v for v in session.page(n)}, session.results.row(n)['record']
    part = lambda before, values: {k: dict(v, features=before + k) for k, v in values.items()}
    tagged = dict(fields=part('', record['fields']), runs=[part(f'run{i}_', r) for i, r in enumerate(record['runs'], 1)])
    cells = page_cells(truth, tagged)
    elsewhere = {same(c['truth']) for c in cells}
    for c in (c for c in cells if 'features' in c):
        v = values[c['features']]
        if not c['truth']: session.mark(v, 'blank')
        elif c['right']: session.mark(v, 'ok')
        elif same(c['found']) not in elsewhere: session.mark(v, 'fixed', c['truth'])

def sheet_lines(rec, pages:Path, fields:Path, work:Path)->Path:
    "A folder of the values that `rec` finds on the sheets to learn from, each with what stands there"
    truth = {t['file_name']: t for t in read_jsonl(fields) if t['split'] == 'train'}
    found, out = work/'sheets.jsonl', work/'values'
    if not found.exists(): write_jsonl(found, predict(rec, [pages/name for name in truth], kind='page'))
    if not (out/'train').exists():
        session = open_review_of(found)
        for n, page in enumerate(session.results.pages): review_sheet(session, n, truth[Path(page.file).name])
        print(write_lines(session, out, Scans(found)))
        cer, rows = {r['id']: r['cer'] for r in evaluate(rec, load_split(out/'train')[0])}, read_jsonl(out/'train/lines.jsonl')
        write_jsonl(out/'train/lines.jsonl', [r | dict(group=truth[f'{r["group"]}.png']['group'], scan=r['group']) for r in rows if cer[r['id']] <= ANOTHER])
    return out/'train'

class Straight(torch.nn.Module):
    "Stands for the backbone: what comes in are its features already"
    def forward(self, x, **_): return BaseModelOutput(last_hidden_state=x)

@torch.no_grad()
def features(rec, img)->torch.Tensor:
    pixels = torch.from_numpy(to_pixels(img, 0))[None].contiguous(memory_format=torch.channels_last)
    return rec.model.model(pixels).last_hidden_state[0].contiguous()

def all_features(rec, lines:list, beside:list, path:Path)->dict:
    "`3.0` of line 3 as it is, `3.1` and on of its augmented copies; `d3` of drawn line 3"
    if not path.exists():
        found = {f'd{i}': features(rec, s.image) for i, s in enumerate(beside)}
        for i, s in enumerate(lines):
            img = s.image
            copies = [img, *(augment(img, rng_for('pick', s.id, v), 1.) for v in range(VARIANTS))]
            found |= {f'{i}.{v}': features(rec, c) for v, c in enumerate(copies)}
        save_file(found, path)
    return load_file(path)

def batch(rec, items:list)->dict: # (sample, features)
    same = defaultdict(list)
    for i, (_, x) in enumerate(items): same[x.shape[-1]].append(i)
    return dict(groups=[(torch.tensor(g), torch.stack([items[i][1] for i in g])) for g in same.values()],
                targets=[torch.tensor([rec.index.get(c, 0) for c in s.text], dtype=torch.long) for s, _ in items],
                refused=torch.tensor([bool(rec.refuses(s)) for s, _ in items]))

def read(rec, items:list)->list[dict]:
    rec.eval()
    rows = []
    for part in (items[k:k + 32] for k in range(0, len(items), 32)):
        sums, tokens, preds = rec.read(batch(rec, part))
        rows += [sample_row(s, *r) for (s, _), *r in zip(part, sums.tolist(), tokens.tolist(), preds)]
    return rows

def endless(rng, n:int):
    while True: yield from rng.permutation(n).tolist()

def learn(rec, start:dict, lines:list, at:list, beside:list, found:dict, *key)->EMA:
    "Train the head on the lines at `at`; the order of the drawn lines is the same whatever is learned beside"
    rec.load_state_dict(start)
    rec.train()
    for name, p in rec.named_parameters(): p.requires_grad_(name.startswith('model.head'))
    weights = list(rec.trainable().values())
    opt, ema = torch.optim.AdamW(weights, lr=RATE, weight_decay=.01), EMA(rec, .95)
    shape = lambda i: min(1, (i + 1)/10)*.5*(1 + math.cos(math.pi*i/STEPS))
    schedule, copy = torch.optim.lr_scheduler.LambdaLR(opt, shape), rng_for('copy', *key)
    real, drawn = endless(rng_for('order', *key), len(at)), endless(rng_for('drawn', *key), len(beside))
    for _ in range(STEPS):
        chosen = [at[next(real)] for _ in range(REAL)]
        items = [(lines[i], found[f'{i}.{1 + copy.integers(VARIANTS)}']) for i in chosen]
        items += [(beside[i], found[f'd{i}']) for i in (next(drawn) for _ in range(BESIDE))]
        sums, tokens = rec.losses(batch(rec, items))
        use = torch.isfinite(sums)
        (sums[use].sum()/tokens[use].sum()).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.)
        opt.step(), opt.zero_grad(), schedule.step(), ema.update()
    return ema

def deal(lines:list, folds:int, seed)->list[int]:
    "Fold of each line; whole wells, the larger ones first, in an order that the seed decides"
    wells = [well_key(s.group) for s in lines]
    sizes = Counter(wells)
    names = sorted(sizes)
    order = sorted((names[i] for i in rng_for('deal', seed).permutation(len(names))), key=lambda w: -min(sizes[w], 12))
    filled, fold = [0]*folds, {}
    for w in order:
        fold[w] = filled.index(min(filled))
        filled[fold[w]] += sizes[w]
    return [fold[w] for w in wells]

def choices(rows:list, lines:list, pool:list, n:int, *key)->dict: # arm -> positions in `lines`
    seen = [dict(text=rows[i]['prediction'], confidence=rows[i]['confidence'], group=lines[i].info.get('scan') or lines[i].group) for i in pool]
    return dict(random=rng_for('random', *key).permutation(pool).tolist()[:n], picked=[pool[i] for i in pick_lines(seen, n)])

def one_seed(args, seed, rec, start, lines, beside, found, rows)->dict: # arm -> rows of all held-out lines; `errors`: misread lines among the chosen
    fold, out = deal(lines, args.folds, seed), defaultdict(list)
    for k in range(args.folds):
        pool, held = ([i for i in range(len(lines)) if (fold[i] == k) == h] for h in (False, True))
        for arm, at in choices(rows, lines, pool, args.n, seed, k).items():
            out[f'{arm}: misread'] += [rows[i]['cer'] > 0 for i in at]
            path = args.work/f'rows-{seed}-{k}-{arm}.jsonl'
            if not path.exists():
                with learn(rec, start, lines, at, beside, found, seed, k).applied(): write_jsonl(path, read(rec, [(lines[i], found[f'{i}.0']) for i in held]))
            out[arm] += read_jsonl(path)
    return out

def table(base:list, seeds:dict)->str:
    cer, lines, won = METRICS['cer'], [], 0
    for seed, found in seeds.items():
        d = difference(found['random'], found['picked'])
        value = {arm: summarise(found[arm]) for arm in ('random', 'picked')}
        won += value['picked']['cer'] < value['random']['cer']
        taught = [f'{sum(found[f"{arm}: misread"])/len(found[f"{arm}: misread"]):.0%}' for arm in value]
        lines.append([seed, *(cer.text(value[arm]['cer']) for arm in value), d.text('cer'), *(f'{value[arm]["loss"]:.4f}' for arm in value), *taught])
    head = ['seed', 'CER, random', 'CER, picked', 'picked against random', 'loss, random', 'loss, picked', 'misread of the random', 'misread of the picked']
    wells = len({well_key(r['group']) for r in base})
    every = lambda arm: [r | dict(id=f'{seed}/{r["id"]}') for seed, found in seeds.items() for r in found[arm]]
    return (f'{len(base)} lines of {wells} wells, read by the model before: CER {cer.text(summarise(base)["cer"])}, loss {summarise(base)["loss"]:.4f}.\n\n'
            f'{md_table(head, lines, "lr")}\n\nPicked is better in {won} of {len(seeds)} seeds; all seeds together: {difference(every("random"), every("picked")).text("cer")}.')

def main(args):
    writable_dir(args.work)
    rec = load_recogniser(args.model)
    folders = args.lines + [sheet_lines(rec, *args.sheets, args.work)]*bool(args.sheets)
    lines = [replace(s, id=f'{k}/{s.id}') for k, folder in enumerate(folders) for s in of_kind(load_split(folder)[0], ('line',))[0]]
    beside = [s for s in drawn_lines(DRAWN, .5, 'picking') if not rec.refuses(s)]
    rows = args.work/'read.jsonl'
    if not rows.exists(): write_jsonl(rows, evaluate(rec, lines))
    at = choices(read_jsonl(rows), lines, list(range(len(lines))), args.n, 'all')['picked']
    print(f'Of {args.n} lines picked out of all {len(lines)}, {sum(read_jsonl(rows)[i]["cer"] > 0 for i in at)/args.n:.0%} are misread; of all lines {sum(r["cer"] > 0 for r in read_jsonl(rows))/len(lines):.0%}.')
    rows, found = read_jsonl(rows), all_features(rec, lines, beside, args.work/'features.safetensors')
    rec.fit_language([], 0.)
    rec.model.model = Straight()
    start = {k: v.clone() for k, v in rec.state_dict().items()}
    base, seeds = read(rec, [(s, found[f'{i}.0']) for i, s in enumerate(lines)]), {}
    for seed in range(args.first, args.first + args.seeds):
        seeds[seed] = one_seed(args, seed, rec, start, lines, beside, found, rows)
        print(text := table(base, seeds), flush=True)
    if args.output: args.output.write_text(text + '\n')

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('lines', nargs='+', type=Path)
    p.add_argument('--sheets', nargs=2, type=Path, metavar=('PAGES', 'FIELDS'), help='pictures of sheets, and their truth')
    p.add_argument('--model', required=True)
    p.add_argument('--work', type=Path, required=True, help='folder for features and readings')
    p.add_argument('--n', type=int, default=100)
    p.add_argument('--seeds', type=int, default=5)
    p.add_argument('--first', type=int, default=0, help='first seed')
    p.add_argument('--folds', type=int, default=3)
    p.add_argument('--output', type=Path)
    main(p.parse_args())
