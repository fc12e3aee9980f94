"""Time from the start to the first step after a resume: early in an epoch, and far into a long one.

    python bench/resume_time.py [--rounds 5]

The same run, with 1.6 million drawn lines an epoch in its plan, goes on at step 10 and at step 100,000. Nothing is decoded to find the place again, so both should take the same time; they take turns.
"""
import argparse, statistics, time

from welllog_ocr.data.sample import shuffled_batches
from welllog_ocr.run.samples import RunData
from welllog_ocr.config import TrainingConfig
from welllog_ocr.models.ctc import tiny_ctc
from welllog_ocr.run.state import capture, restore
from welllog_ocr.run.step import Run
from welllog_ocr.draw.line import SynthLines
from welllog_ocr.train import fit

STEPS = (10, 100_000)

class Long(Run):
    "A run whose epoch is long: the same few lines again and again"
    lines = [s for s in SynthLines(400, 'long') if s.text.isdigit()][:16]
    plan = None
    def batches(self, epoch):
        samples = self.lines*(16*(STEPS[1] + 20)//len(self.lines))
        return samples, shuffled_batches([self.rec.cost(s) for s in samples[:16]]*(len(samples)//16), 16, self.cfg.seed, epoch)

def start(cfg)->Long: return Long(cfg, tiny_ctc('0123456789'), RunData([], [], 0, '', [], []))

def first_step(cfg, found)->float:
    "Seconds from a fresh process's point of view, imports aside, to the end of the first step"
    begun = time.perf_counter()
    run = start(cfg)
    restore(run, found)
    run.total = run.step + 1
    fit(run)
    return time.perf_counter() - begun

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rounds', type=int, default=5)
    args = p.parse_args()
    import tempfile
    cfg = TrainingConfig(max_steps=STEPS[1] + 20, bf16=False, output_dir=tempfile.mkdtemp())
    cfg.run_dir.mkdir(parents=True)
    run, states = start(cfg), {}
    run.total = 1
    fit(run)
    for step in STEPS:
        run.step = run.at = step
        run.seen = 16*step
        states[step] = capture(run)
    found = {step: [] for step in STEPS}
    for _ in range(args.rounds):
        for step in STEPS: found[step].append(first_step(cfg, states[step]))
    for step in STEPS: print(f'resumed at step {step:>7}: {statistics.median(found[step]):.2f} s to the first step ({min(found[step]):.2f} to {max(found[step]):.2f})')

if __name__ == '__main__': main()
