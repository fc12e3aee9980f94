"""What keeping track costs per step, against the bare loop.

    python bench/tracking_cost.py [--steps 40] [--rounds 3]

The work that the training process itself does for the ledger, the log, the events and the budget is timed alone, a thousand times, and set against a bare step of a small real model. The mirror of W&B, in offline mode, is a process of
its own: what it takes of a processor while the loop runs is counted. And whole loops are run in turn, bare and with all of it, and compared by the clock, which on a machine that does other things says little, and by the seconds of a
processor that the training process takes.
"""
import argparse, os, statistics, tempfile, time
from dataclasses import asdict

import psutil
import torch

from welllog_ocr.config import TrainingConfig
from welllog_ocr.files import write_json
from welllog_ocr.run.cost import Budget, Ledger, Price
from welllog_ocr.run.samples import run_data
from welllog_ocr.run.callbacks import Callback, Log, Save, Spend
from welllog_ocr.mirror import Sender
from welllog_ocr.models.core import load_recogniser
from welllog_ocr.run.step import Run
from welllog_ocr.train import fit

class Stop(Callback):
    "Ends a run after n steps; `times` has (by the clock, of a processor) at the end of each"
    def __init__(self, n): self.n, self.times = n, []
    def after_step(self, run):
        self.times.append((time.perf_counter(), time.process_time()))
        if len(self.times) == self.n: run.stop = 'enough'

def tracked(run):
    "Give a run its ledger and budget"
    ledger = Ledger(run.folder, Price(.42))
    run.journal.ledger = ledger
    return [Log(), Spend(Budget(ledger, 1e6), Save(None))]

def beside(sender)->float:
    "Seconds of a processor that the mirror has taken, with whatever it started"
    mirror = psutil.Process(sender.process.pid)
    return sum(sum(p.cpu_times()[:2]) for p in (mirror, *mirror.children(recursive=True)))

def loop(cfg, rec, data, n, track)->tuple[float, float, float]:
    "Of a step: seconds by the clock and of a processor, the medians of one loop, and seconds of a processor that the mirror took"
    cfg = cfg.replace(experiment_name='tracked' if track else 'bare')
    cfg.run_dir.mkdir(parents=True, exist_ok=True)
    write_json(cfg.run_dir/'run.json', dict(run_id='bench'))
    run = Run(cfg, rec, data)
    run.callbacks = [*(tracked(run) if track else []), stop := Stop(n)]
    sender, mirror = Sender(cfg.run_dir, asdict(cfg), run.event) if track else None, 0.
    if sender: time.sleep(10); mirror = -beside(sender) # its start is no step
    fit(run)
    if sender: mirror += beside(sender); sender.close()
    each = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(stop.times, stop.times[1:])]
    return *map(statistics.median, zip(*each)), mirror/n

def own_work(cfg, rec, data, n=1000):
    "Seconds a step that the training process works for its guests"
    run = Run(cfg.replace(experiment_name='own'), rec, data)
    run.folder.mkdir(parents=True, exist_ok=True)
    run.loss, run.grad_norm, run.tokens, run.total = 1., 1., 100, 10**6
    callbacks = tracked(run)
    for g in callbacks: g.before_run(run)
    start = time.perf_counter()
    for run.step in range(1, n + 1):
        for g in callbacks: g.after_step(run)
    return (time.perf_counter() - start)/n

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--steps', type=int, default=40)
    p.add_argument('--rounds', type=int, default=3)
    args = p.parse_args()
    os.environ['WANDB_MODE'] = 'offline'
    cfg = TrainingConfig(output_dir=tempfile.mkdtemp(), synth_lines=400, synth_eval_lines=3, per_device_train_batch_size=4, max_steps=10**6, preflight=False, use_wandb=True, logging_steps=1, gpu_hourly_rate=.42, budget_cap=1e6, language_weight=0., eval_steps=10**6, save_steps=10**6)
    rec = load_recogniser(cfg.model_name)
    data = run_data(cfg, rec)
    own = own_work(cfg, rec, data)
    pairs = [(loop(cfg, rec, data, args.steps, False), loop(cfg, rec, data, args.steps, True)) for _ in range(args.rounds)]
    clock, core, mirror = (statistics.median(b[0] for b, _ in pairs), statistics.median(b[1] for b, _ in pairs), statistics.median(t[2] for _, t in pairs))
    told = lambda k: ', '.join(f'{t[k]/b[k] - 1:+.1%}' for b, t in pairs)
    print(f'{cfg.model_name}, {torch.get_num_threads()} threads, a train row every step, {args.rounds} rounds of {args.steps} steps')
    print(f'bare step                    {1000*clock:8.1f} ms, {1000*core:.1f} ms of a processor')
    print(f'work of the guests           {1000*own:8.3f} ms a step, {own/clock:.2%} of a bare step')
    print(f'mirror of W&B beside it      {1000*mirror:8.1f} ms of a processor a step, {mirror/core:.2%} of a bare step')
    print(f'whole loops, tracked / bare, by the clock: {told(0)}; of a processor: {told(1)}')

if __name__ == '__main__': main()
