"""What it costs to judge a model in training: loss and transcription of every line from one pass, against a pass for the losses and another for the texts.

    python bench/eval_once.py [--lines 160] [--rounds 3] [--language 0.3]

Both take turns within each round, on the same drawn lines, which lie in a folder as a user's would; the ratio is that of one round. The one pass also takes the loss of each label apart,
character by character, which the two do not.
"""
import argparse, math, statistics, tempfile, time

import torch

from welllog_ocr.config import TrainingConfig
from welllog_ocr.data.sample import sorted_batches
from welllog_ocr.run.samples import language_texts, run_data
from welllog_ocr.evaluate import evaluate, summarise
from welllog_ocr.models.loader import batches
from welllog_ocr.metrics import score
from welllog_ocr.models.core import autocast, default_device, to_device
from welllog_ocr.models.ctc import CTCRecogniser
from welllog_ocr.data.load import load_eval
from welllog_ocr.synth import write_folder

def a_pass(rec, samples, do, bs=16)->list:
    "What `do` gives for each batch, in the order of the samples"
    out, device = [None]*len(samples), next(rec.parameters()).device
    todo = [(where, 0) for where in sorted_batches([rec.cost(s) for s in samples], bs)]
    for where, batch in batches(rec, samples, todo):
        with torch.no_grad(), autocast(device, True): found = do(to_device(batch, device))
        for i, f in zip(where, found): out[i] = f
    return out

def twice(rec, samples)->dict:
    "A pass for the losses, and one for the texts"
    losses = a_pass(rec, samples, lambda batch: list(zip(*(t.tolist() for t in rec.losses(batch)))))
    texts = [p.text for p in a_pass(rec, samples, rec.transcribe)]
    finite = [(l, n) for l, n in losses if math.isfinite(l)]
    return dict(loss=sum(l for l, _ in finite)/sum(n for _, n in finite), cer=score([s.text for s in samples], texts)['cer'])

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--lines', type=int, default=160)
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--language', type=float, default=TrainingConfig().language_weight, help='0: without the language of headers, whose search both ways share')
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_folder(folder, n=args.lines + 1, eval_share=args.lines/(args.lines + 1))
        rec, samples = CTCRecogniser.from_pretrained().to(default_device()), load_eval(folder)[0]
        if args.language: rec.fit_language(language_texts(cfg := TrainingConfig(synth_eval_lines=1), run_data(cfg, rec)), args.language)
        spent = {'one pass': [], 'two passes': []}
        for turn in range(args.rounds + 1): # the first round prepares kernels and is not counted
            figures = []
            for name, way in (('one pass', lambda: summarise(evaluate(rec, samples))), ('two passes', lambda: twice(rec, samples))):
                start = time.perf_counter()
                figures.append(way())
                if turn: spent[name].append(time.perf_counter() - start)
            for k in ('loss', 'cer'): assert abs(figures[0][k] - figures[1][k]) <= 1e-5*max(1, figures[1][k]), (k, figures)
    ratios = [two/one for one, two in zip(*spent.values())]
    for name, seconds in spent.items(): print(f'{name:12} {statistics.median(seconds):6.2f} s for {len(samples)} lines, {torch.get_num_threads()} threads')
    print(f'one pass is {statistics.median(ratios):.2f} times faster ({min(ratios):.2f} to {max(ratios):.2f}); loss and CER are the same')

if __name__ == '__main__': main()
