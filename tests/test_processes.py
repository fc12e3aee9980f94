"Two processes train as one does: the same samples, the same losses, and either goes on where the other stopped"
import os, subprocess, sys
from pathlib import Path

import pytest

from runs import CLOCK, tiny
from welllog_ocr.checkpoint import load, step_folder
from welllog_ocr.config import config_json
from welllog_ocr.core import read_jsonl

def start(home, processes, name, **changes):
    "Train in as many processes; raises when that fails"
    cfg = tiny(home, experiment_name=name, **changes)
    (home/f'{name}.json').write_text(config_json(cfg))
    launcher = [] if processes == 1 else ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(processes)]
    done = subprocess.run([sys.executable, *launcher, '-m', 'welllog_ocr.train', '--config', str(home/f'{name}.json')], capture_output=True, text=True, timeout=300, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return cfg.run_dir

def losses(run): return [(r['step'], r['split'], r['loss']) for r in read_jsonl(run/'metrics.jsonl')]

def same(a, b):
    assert [r[:2] for r in losses(a)] == [r[:2] for r in losses(b)]
    assert max(abs(x[2] - y[2])/max(1, abs(x[2])) for x, y in zip(losses(a), losses(b))) < 1e-5

def test_two_processes_are_one_and_either_goes_on(home):
    one, two = start(home, 1, 'one'), start(home, 2, 'two')
    same(one, two)
    a, b = (load(step_folder(run/'checkpoints', 16)) for run in (one, two))
    assert (a.state['seen'], a.state['epoch'], a.state['at']) == (b.state['seen'], b.state['epoch'], b.state['at'])
    for step in (0, 8, 16):
        rows = [read_jsonl(run/'eval'/f'step-{step:08}.jsonl') for run in (one, two)]
        assert [r['id'] for r in rows[0]] == [r['id'] for r in rows[1]]
