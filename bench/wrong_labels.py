"""Wrong labels among the training lines: does the ranking find them, and what does it help to mend those that a review finds?

    python bench/wrong_labels.py [--seeds 5] [--lines 640] [--steps 80] [--held 320]

For each seed, 5 % of drawn training lines get a wrong label: two digits swapped, the text of another line, or a cut end. A model is trained on them, and reads its own training lines
once. The worst 10 % by `worst_first` are reviewed: what is wrong among them gets its right label back. A second model is trained on the mended lines, from the same beginning, in the same
order, and both are judged by clean lines that neither has seen.
"""
import argparse, tempfile, time
from collections import Counter
from dataclasses import replace

from welllog_ocr.config import TrainingConfig
from welllog_ocr.core import rng_for
from welllog_ocr.dataset import fingerprint
from welllog_ocr.epochs import RunData, drawn_lines
from welllog_ocr.evaluate import evaluate
from welllog_ocr.figures import summarise, worst_first
from welllog_ocr.models.ctc import CTCRecogniser
from welllog_ocr.step import Run
from welllog_ocr.train import fit

SHARE, REVIEWED = .05, .1
WAYS = ('swapped digits', 'another line', 'cut end')

def swapped(text, others, r):
    "Two digits, neighbours if possible, in each other's place"
    at = [i for i, c in enumerate(text) if c.isdigit()]
    pairs = [(a, b) for a in at for b in at if a < b and text[a] != text[b]]
    if not pairs: return text
    near = [p for p in pairs if p[1] - p[0] == 1] or pairs
    (a, b), chars = near[r.integers(len(near))], list(text)
    chars[a], chars[b] = chars[b], chars[a]
    return ''.join(chars)

def another(text, others, r): return others[r.integers(len(others))]

def cut(text, others, r):
    "Up to half of it is missing"
    return text[:-int(r.integers(1, len(text)//2 + 2))].strip()

def spoil(lines:list, rec, seed:int)->dict[int, tuple]: # Position -> (way, wrong label)
    "Wrong labels that a model could learn; each way has as many"
    r, wrong, texts = rng_for('wrong labels', seed), {}, [s.text for s in lines]
    for i in r.permutation(len(lines)):
        if len(wrong) == round(SHARE*len(lines)): return wrong
        way = WAYS[len(wrong) % len(WAYS)]
        text = dict(zip(WAYS, (swapped, another, cut)))[way](texts[i], texts, r)
        if text and text != texts[i] and not rec.refuses(replace(lines[i], text=text)): wrong[int(i)] = way, text
    return wrong

def trained(lines, held, seed, steps, order):
    "The embedded model after `steps` steps on `lines`"
    with tempfile.TemporaryDirectory() as folder:
        cfg = TrainingConfig(output_dir=folder, seed=seed, max_steps=steps, warmup_steps=min(20, steps//4), learning_rate=RATE, augment=0., freeze=KEPT)
        rec = CTCRecogniser.from_pretrained()
        run = Run(cfg, rec, RunData(lines, held, 0, order, [], []))
        fit(run)
        run.average.applied().__enter__() # for good
    return rec
RATE, KEPT = 3e-4, ''

def found(rows, wrong:dict, key)->set:
    "Those of the wrong labels that stand among the worst"
    place = {r['id']: i for i, r in enumerate(rows)}
    worst = {place[r['id']] for r in key(rows)[:round(REVIEWED*len(rows))]}
    return worst & wrong.keys()

def by_mean(rows): return sorted(rows, key=lambda r: -(r['loss'] if r['loss'] is not None else float('inf')))
def by_max(rows): return sorted(rows, key=lambda r: -(r['loss_max'] if r['loss'] is not None else float('inf')))
if __name__ == '__main__':
    import sys, pickle
    p = argparse.ArgumentParser(); p.add_argument('--seed', type=int, default=0); p.add_argument('--lines', type=int, default=640); p.add_argument('--steps', type=int, default=80); p.add_argument('--held', type=int, default=320)
    a = p.parse_args()
    held = [s for s in drawn_lines(a.held, .5, 'wrong-labels-held')]
    base = CTCRecogniser.from_pretrained()
    lines = [s for s in drawn_lines(a.lines, .5, f'wrong-labels-{a.seed}') if not base.refuses(s)]
    wrong = spoil(lines, base, a.seed)
    bad = [replace(s, text=wrong[i][1], info=dict(wrong=wrong[i][0])) if i in wrong else s for i, s in enumerate(lines)]
    order = fingerprint(lines)
    t = time.time(); rec = trained(bad, held, a.seed, a.steps, order); print('train', time.time()-t, flush=True)
    t = time.time(); rows = evaluate(rec, bad); print('rank', time.time()-t, flush=True)
    t = time.time(); cer_bad = summarise(evaluate(rec, held)); print('held', time.time()-t, cer_bad, flush=True)
    rows0 = evaluate(base, bad)
    pickle.dump((rows0, rows, wrong), open(f'/tmp/wl/b{a.seed}.pkl', 'wb'))
    for n, rr in (('untouched', rows0), ('trained', rows)):
        for m, k in (('mean', by_mean), ('max', by_max)):
            f = found(rr, wrong, k); print(n, m, len(f), '/', len(wrong), Counter(wrong[i][0] for i in f), flush=True)
    f = found(rows, wrong, by_max)
    fixed = [s if i in f else b for i, (s, b) in enumerate(zip(lines, bad))]
    rec2 = trained(fixed, held, a.seed, a.steps, order)
    print('fixed', summarise(evaluate(rec2, held)))
