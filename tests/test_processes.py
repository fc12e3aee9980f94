"Two processes train as one does: the same samples, the same losses, and either goes on where the other stopped"
import os, shutil, subprocess, sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from runs import tiny
from welllog_ocr.run.checkpoint import load, step_folder
from welllog_ocr.config import config_json
from welllog_ocr.files import read_jsonl
from welllog_ocr.run.distributed import ProcessGroup
from welllog_ocr.run.step import cuts
from welllog_ocr.train import train

def start(home, name, how=('-m', 'welllog_ocr.train', '--config'), **env):
    "Train in two processes; raises when that fails"
    cfg = tiny(home, experiment_name=name)
    (home/f'{name}.json').write_text(config_json(cfg))
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', *how, str(home/f'{name}.json')]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, 'OMP_NUM_THREADS': '1', **env})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return cfg.run_dir

def back_to(run, step):
    "As if it had been killed there"
    for p in (run/'checkpoints').glob('step-*'):
        if int(p.name.removeprefix('step-')) > step: shutil.rmtree(p)

def same(a, b):
    rows = [[(r['step'], r['split'], r['loss']) for r in read_jsonl(run/'metrics.jsonl')] for run in (a, b)]
    assert [r[:2] for r in rows[0]] == [r[:2] for r in rows[1]]
    assert max(abs(x[2] - y[2])/max(1, abs(x[2])) for x, y in zip(*rows)) < 1e-5
    (s, t), kept = (load(step_folder(run/'checkpoints', 16)) for run in (a, b)), ('seen', 'epoch', 'at', 'metrics_rows')
    assert [s.state[k] for k in kept] == [t.state[k] for k in kept]
    assert s.model.keys() == t.model.keys() and max(float((s.model[n] - t.model[n]).abs().max()) for n in s.model) < 1e-4
    for p in sorted((a/'eval').iterdir()): assert [(r['id'], r['reference']) for r in read_jsonl(p)] == [(r['id'], r['reference']) for r in read_jsonl(b/'eval'/p.name)]

def test_two_processes_are_one_and_either_goes_on(home):
    one, two = train(tiny(home, experiment_name='one')), start(home, 'two')
    same(one, two)
    back_to(two, 14)
    same(one, train(tiny(home, experiment_name='two')))
    shutil.copytree(one, one.with_name('three'))
    back_to(one.with_name('three'), 14)
    same(one, start(home, 'three'))

@pytest.mark.soak # a minute
def test_weights_in_pieces_are_saved_whole(home, reliability):
    one, two = train(tiny(home, experiment_name='one')), start(home, 'pieces', [str(Path(__file__).parent/'pieces.py')])
    same(one, two)
    back_to(two, 14)
    same(one, train(tiny(home, experiment_name='pieces')))
    reliability('two processes with weights in pieces (FSDP), cut off, and gone on with by one', 1, 1, 'losses within 1e-5')

@pytest.mark.parametrize('n', [2, 3, 8])
def test_a_batch_is_shared_out_once_and_all_have_as_many_parts(n):
    cfg = SimpleNamespace(per_device_train_batch_size=2, max_batch_cost=-1)
    found = []
    for rank in range(n):
        pg = ProcessGroup(alone=True)
        pg.rank, pg.n = rank, n
        run = SimpleNamespace(pg=pg, cfg=cfg, split=1, beside=1, rec=SimpleNamespace(cost=lambda s: s))
        found.append(cuts(run, list(range(1, 14)), [list(range(13)), [3, 4]]))
    for k, batch in enumerate(([*range(13)], [3, 4])):
        assert len({len(f[k]) for f in found}) == 1
        assert sorted(i for f in found for part, _ in f[k] for i in part) == batch
