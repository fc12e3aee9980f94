"""How long a step of training takes on two threads while another program uses one of two processors.

    python bench/busy_step.py [--steps 6] [--plain]

The default model and settings, on drawn lines. `before` takes the parts of a batch in turn, and each operation uses all threads; `after` is the step as it is, with two parts at a time. They alternate in one process.
The busy processor runs an endless loop. Where other programs compute, this puts its own session in front of theirs, which takes root and Linux; with `--plain` it does not.
"""
import argparse, os, statistics, subprocess, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import torch

from welllog_ocr.config import TrainingConfig
from welllog_ocr.models.core import load_model
from welllog_ocr.run.samples import run_data
from welllog_ocr.run.step import Run, loaded, train_step

def in_front():
    "Put this process and its children in front of other sessions, where the system groups programs by session"
    try:
        if os.getpid() not in (os.getsid(0), os.getpgid(0)): os.setsid()
        Path('/proc/self/autogroup').write_text('-20')
    except OSError as e: print(f'not in front of other sessions: {e}')

def first_batches(cfg, n:int, beside:int)->tuple:
    "A run, and the parts of its first batches"
    rec = load_model(cfg)
    run = Run(cfg, rec, run_data(cfg, rec), alone=True)
    run.beside = beside
    samples, plan = run.batches(0)
    return run, [micro for _, micro in loaded(run, samples, plan[:n])]

def seconds(run, micro)->float:
    start = time.perf_counter()
    train_step(run, micro)
    return time.perf_counter() - start

def measured(ways:dict, rounds:int, busy:int|None)->dict: # way -> mean seconds of a step
    "Each batch by each way, in turn, while an endless loop runs on processor `busy`"
    other = subprocess.Popen(['taskset', '-c', str(busy), sys.executable, '-c', 'while True: pass']) if busy is not None else None
    found = {way: [] for way in ways}
    try:
        for i in range(rounds):
            for way, (run, batches) in ways.items(): found[way].append(seconds(run, batches[i]))
    finally:
        if other: other.kill()
    return {way: statistics.mean(v) for way, v in found.items()}

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--steps', type=int, default=6, help='batches, each trained on once in every case')
    p.add_argument('--plain', action='store_true', help='stay beside other sessions')
    args = p.parse_args()
    if not args.plain: in_front()
    cfg = TrainingConfig(max_steps=1000, synth_lines=16*args.steps, synth_eval_lines=1, language_texts=1, output_dir=tempfile.mkdtemp())
    cfg.run_dir.mkdir(parents=True)
    ways = {'before': first_batches(cfg, args.steps, 1), 'after': first_batches(cfg, args.steps, 2)}
    for run, batches in ways.values(): seconds(run, batches[0]) # set up once
    idle = measured(ways, args.steps, None)
    busy = measured(ways, args.steps, max(os.sched_getaffinity(0)))
    print(f'{torch.get_num_threads()} threads, {len(os.sched_getaffinity(0))} processors, mean of {args.steps} steps\n')
    print('| step | idle, s | one processor busy, s | busy / idle | busy / idle before |\n|---|---|---|---|---|')
    for way in ways: print(f'| {way} | {idle[way]:.2f} | {busy[way]:.2f} | {busy[way]/idle[way]:.2f} | {busy[way]/idle["before"]:.2f} |')

if __name__ == '__main__': main()
