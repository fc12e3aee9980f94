"""Reading 64 samples of mixed length: in batches, against one by one.

    python bench/vlm_learns.py --save FOLDER && python bench/vlm_generate.py --model FOLDER [--samples 64] [--bs 64]

Both ways are the recogniser's `transcribe` in float32, batches sorted by cost as in an evaluation. The texts have to be the same.
"""
import argparse, time

import torch

from vlm_learns import distinct
from welllog_ocr.data.sample import sorted_batches
from welllog_ocr.models.core import load_recogniser

def read(rec, samples, bs:int)->tuple[list, float, float]:
    "Texts in order; seconds, and seconds of a core"
    start, cpu, texts = time.perf_counter(), time.process_time(), [None]*len(samples)
    for where in sorted_batches([rec.cost(s) for s in samples], bs):
        for i, pred in zip(where, rec.transcribe(rec.collate([samples[i] for i in where]))): texts[i] = pred.text
    return texts, time.perf_counter() - start, time.process_time() - cpu

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--model', required=True, help='folder that vlm_learns.py --save wrote')
    p.add_argument('--samples', type=int, default=64)
    p.add_argument('--bs', type=int, default=64)
    args = p.parse_args()
    rec, samples = load_recogniser(args.model), distinct(args.samples, 'learn')
    lengths = sorted(len(s.text) for s in samples)
    read(rec, samples[:2], 2) # kernels
    ones, t1, c1 = read(rec, samples, 1)
    together, t2, c2 = read(rec, samples, args.bs)
    print(f'{len(samples)} lines of {lengths[0]} to {lengths[-1]} characters, {torch.get_num_threads()} threads')
    print(f"{'':14} {'seconds':>8} {'of a core':>10}\n{'one by one':14} {t1:8.1f} {c1:10.1f}\n{f'{args.bs} at a time':14} {t2:8.1f} {c2:10.1f}")
    print(f'{t1/t2:.1f} times faster; {sum(a != b for a, b in zip(ones, together))} texts differ; {sum(t == s.text for t, s in zip(together, samples))} are right')

if __name__ == '__main__': main()
