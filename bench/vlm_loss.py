"""Peak memory and time of a training step with Qwen3-VL's vocabulary: our losses against the model's own.

    python bench/vlm_loss.py [--answer 1500] [--tokens 2000] [--width 256] [--rounds 3] [--float32] [--train_head]

A random Qwen3-VL with 151,936 tokens, one image and one answer, 2,000 tokens together. The output layer is not trained, as with an adapter, unless it is asked for. Every way runs in a process of its own. `no loss` is the step without any loss, so that what the others
need above it is the loss alone. On a GPU its own memory is counted, else that of the process.
"""
import argparse, json, subprocess, sys, time
from dataclasses import replace
from pathlib import Path

import torch

from welllog_ocr.models.vlm import tiny_chat
from welllog_ocr.models.core import autocast, default_device, to_device
from welllog_ocr.synth import SynthLines

VOCABULARY = 151_936
WAYS = ('no loss', "the model's own", 'ours')

def prepared(answer:int, tokens:int, width:int, train_head:bool):
    "A model, and a batch of one sample with that many tokens"
    rec = tiny_chat(width=width, depth=1, instruction='Read.', min_pixels=1024, max_pixels=max(1, tokens - answer - 30)*1024, max_seq_length=10**6)
    torch.manual_seed(0) # new rows are random, and every way has to have the same
    rec.core.resize_token_embeddings(VOCABULARY, mean_resizing=False)
    rec.core.get_output_embeddings().weight.requires_grad_(train_head)
    sample = replace(SynthLines(1, 'loss')[0], text=('COMPANY AMOCO PRODUCTION CO. WELL NO. 7 '*answer)[:answer - 1])
    sample = replace(sample, load=lambda img=sample.image: img.resize((4000, 1000)), size=(4000, 1000))
    device = default_device()
    return rec.to(device).train(), to_device(rec.collate([sample]), device), device

def step(way:str, rec, batch)->float:
    inputs = dict(input_ids=batch['ids'], attention_mask=batch['mask'], **batch['types'], **batch['pixels'])
    if way == 'ours':
        sums, n = rec.losses(batch)
        loss = sums.sum()/n.sum()
    elif way == 'no loss': loss = rec.core.model(**inputs, use_cache=False)[0].float().mean()
    else: loss = rec.core(**inputs, labels=batch['targets'], use_cache=False).loss
    loss.backward()
    return float(loss)

def status(key:str)->int: return next(int(l.split()[1])*1024 for l in Path('/proc/self/status').read_text().splitlines() if l.startswith(key + ':'))

def measured(way:str, args)->dict:
    rec, batch, device = prepared(args.answer, args.tokens, args.width, args.train_head)
    times, peaks = [], []
    for i in range(args.rounds + 1): # the first prepares kernels and gradients
        rec.zero_grad(set_to_none=False)
        if device.type == 'cuda': torch.cuda.reset_peak_memory_stats()
        else: Path('/proc/self/clear_refs').write_text('5') # the peak starts anew
        before, start, cpu = torch.cuda.memory_allocated() if device.type == 'cuda' else status('VmRSS'), time.perf_counter(), time.process_time()
        with autocast(device, not args.float32): loss = step(way, rec, batch)
        if device.type == 'cuda': torch.cuda.synchronize()
        if i: times.append((time.perf_counter() - start, time.process_time() - cpu)), peaks.append((torch.cuda.max_memory_allocated() if device.type == 'cuda' else status('VmHWM')) - before)
    return dict(loss=loss, seconds=min(t for t, _ in times), cpu=min(c for _, c in times), peak=max(peaks)/2**20, tokens=batch['ids'].shape[1], learned=int((batch['targets'] >= 0).sum()), where=str(device))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in dict(answer=1500, tokens=2000, width=256, rounds=3).items(): p.add_argument(f'--{name}', type=int, default=default)
    for flag in ('float32', 'train_head'): p.add_argument(f'--{flag}', action='store_true')
    p.add_argument('--way', help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.way: return print(json.dumps(measured(args.way, args)))
    found = {w: json.loads(subprocess.run([sys.executable, __file__, *sys.argv[1:], '--way', w], capture_output=True, text=True, check=True).stdout.splitlines()[-1]) for w in WAYS}
    none, own, ours = (found[w] for w in WAYS)
    print(f"{own['tokens']} tokens, {own['learned']} of them learned, {VOCABULARY:,} known, width {args.width}, on {own['where']}, {torch.get_num_threads()} threads, {'float32' if args.float32 else 'bfloat16'}")
    print(f"{'':16} {'loss':>10} {'step':>8} {'of a core':>10} {'peak':>9} {'of the loss':>12}")
    for w, f in found.items(): print(f"{w:16} {f['loss']:10.6f} {f['seconds']:7.2f}s {f['cpu']:9.2f}s {f['peak']:7.0f}MB {f['peak'] - none['peak']:10.0f}MB")
    print(f"memory of the loss: {(ours['peak'] - none['peak'])/(own['peak'] - none['peak']):.1%} of the model's own; step {ours['seconds']/own['seconds']:.2f} times as long; losses differ by {abs(ours['loss'] - own['loss']):.1e}")

if __name__ == '__main__': main()
