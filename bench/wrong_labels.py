"""Wrong labels among the training lines: does the ranking find them, and what does it help to correct those that a review finds?

    python bench/wrong_labels.py [--seeds 5] [--lines 640] [--steps 60] [--held 320]

For each seed, 5 % of drawn training lines get a wrong label: two digits swapped, the text of another line, or a cut end. A model is trained on them, and reads its own training lines
once. The worst 10 % by mean loss are reviewed: what is wrong among them gets its right label back. A second model is trained on the corrected lines, from the same beginning, in the same
order, and both are evaluated on clean lines that neither has seen. How many `doubt` would have found stands beside it.
"""
import argparse, tempfile, time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch

from welllog_ocr.models.core import load_model
from welllog_ocr.config import load_config
from welllog_ocr.core import rng_for
from welllog_ocr.data.sample import fingerprint
from welllog_ocr.run.samples import RunData, drawn_lines
from welllog_ocr.eval.predictions import evaluate
from welllog_ocr.eval.report import worst_first
from welllog_ocr.metrics import summarise
from welllog_ocr.models.ctc import CTCRecogniser
from welllog_ocr.run.step import Run
from welllog_ocr.train import fit

SHARE, REVIEWED, BASE = .05, .1, Path(__file__).parents[1]/'configs'/'base.py'
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

def trained(lines:list, held:list, seed:int, steps:int, order:str):
    "The embedded model after `steps` steps on `lines`; `order` decides in which order they come"
    with tempfile.TemporaryDirectory() as folder:
        cfg = load_config(BASE).replace(output_dir=folder, seed=seed, max_steps=steps, warmup_steps=min(20, steps//4), learning_rate=3e-4, augment=0.)
        rec = load_model(cfg)
        run = Run(cfg, rec, RunData(lines, held, 0, order, [], []))
        fit(run)
        with torch.no_grad():
            for p, mean in zip(run.average.params, run.average.mean): p.copy_(mean)
    return rec

def found(rows:list, wrong:dict, by:str='loss')->set:
    "Those of the wrong labels that stand among the worst"
    place = {r['id']: i for i, r in enumerate(rows)}
    return {place[r['id']] for r in worst_first(rows, by)[:round(REVIEWED*len(rows))]} & wrong.keys()

def one_seed(seed:int, n:int, steps:int, held:list, untouched)->dict:
    lines = [s for s in drawn_lines(n, .5, f'wrong-labels-{seed}') if not untouched.refuses(s)]
    wrong = spoil(lines, untouched, seed)
    spoiled = [replace(s, text=wrong[i][1]) if i in wrong else s for i, s in enumerate(lines)]
    rec = trained(spoiled, held, seed, steps, fingerprint(lines))
    rows = evaluate(rec, spoiled)
    worst = found(rows, wrong)
    corrected = [true if i in worst else s for i, (true, s) in enumerate(zip(lines, spoiled))]
    both = [summarise(evaluate(r, held)) for r in (rec, trained(corrected, held, seed, steps, fingerprint(lines)))]
    return dict(lines=len(lines), wrong=wrong, early=found(evaluate(untouched, spoiled), wrong), worst=worst, doubted=found(rows, wrong, 'doubt'), before=both[0]['cer'], after=both[1]['cer'])

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in dict(seeds=5, lines=640, steps=60, held=320).items(): p.add_argument(f'--{name}', type=int, default=value)
    args = p.parse_args()
    start, untouched, held = time.perf_counter(), CTCRecogniser.from_pretrained(), list(drawn_lines(args.held, .5, 'wrong-labels-held'))
    print(f'CER of the untouched model on the {args.held} clean lines: {summarise(evaluate(untouched, held))["cer"]:.2%}\n')
    print('| seed | lines | wrong | by mean loss, untouched model | by mean loss, trained model | share | by doubt | CER, wrong labels left | CER, corrected | better |\n| --- |' + ' ---: |'*9)
    all_of = []
    for seed in range(args.seeds):
        f = one_seed(seed, args.lines, args.steps, held, untouched)
        all_of.append(f)
        n = len(f['wrong'])
        print(f'| {seed} | {f["lines"]} | {n} | {len(f["early"])} | {len(f["worst"])} | {len(f["worst"])/n:.0%} | {len(f["doubted"])} | {f["before"]:.2%} | {f["after"]:.2%} | {"yes" if f["after"] < f["before"] else "NO"} |', flush=True)
    total, hit, doubted = (sum((Counter(way for i, (way, _) in f['wrong'].items() if i in f[key]) for f in all_of), Counter()) for key in ('wrong', 'worst', 'doubted'))
    print(f'\n{sum(hit.values())} of {sum(total.values())} wrong labels stand among the worst {REVIEWED:.0%} ({sum(hit.values())/sum(total.values()):.0%}): ' + ', '.join(f'{way} {hit[way]} of {total[way]}' for way in WAYS))
    print(f'by doubt {sum(doubted.values())} ({sum(doubted.values())/sum(total.values()):.0%}): ' + ', '.join(f'{way} {doubted[way]} of {total[way]}' for way in WAYS))
    print(f'corrected is better in {sum(f["after"] < f["before"] for f in all_of)} of {len(all_of)} seeds; {time.perf_counter() - start:.0f} s, {torch.get_num_threads()} threads')

if __name__ == '__main__': main()
