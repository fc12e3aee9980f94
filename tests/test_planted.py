"""Does the suite notice when a protection is gone? Each planted bug takes one line out of a module; one of the injections has to fail for it."""
import random, sys, types

import faults
import pytest
import torch
from conftest import ROOT
from runs import ALL, make_model, tiny

from welllog_ocr.run.checkpoint import CheckpointError, state_digest
from welllog_ocr.run.samples import run_data
from welllog_ocr.run.callbacks import Callback, Log, StopEarly, StopOnLoss
from welllog_ocr.models.ctc import tiny_ctc
from welllog_ocr.run.state import capture
from welllog_ocr.run.step import Run
from welllog_ocr.train import fit

BUGS = [ # what is gone, (the code, what stands there instead), the injection that has to notice
    ('fsync of the files',          ('            fsync(tmp/name)\n', ''), faults.power_loss),
    ('fsync of the new folder',     ('        fsync(tmp)\n', ''), faults.power_loss),
    ('fsync of the parent',         ('        os.rename(tmp, target)\n        fsync(root)\n', '        os.rename(tmp, target)\n'), faults.power_loss),
    ('rename into place',           ("        os.rename(tmp, target)\n        fsync(root)\n        verify(target, run_id)\n", '        os.mkdir(target)\n        for p in tmp.iterdir(): _write(target/p.name, p.read_bytes())\n        for p in list(tmp.iterdir()): os.unlink(p)\n        os.rmdir(tmp)\n        fsync(root)\n'), faults.power_loss),
    ('manifest last',               ('[*files.items(), (MANIFEST, _manifest(run_id, s, files))]', '[(MANIFEST, _manifest(run_id, s, files)), *files.items()][:2]'), faults.kill_at_every_operation),
    ('hash of the files',           ("        if whole and sha256_file(path)", "        if False and sha256_file(path)"), faults.bit_flips),
    ('hash of the manifest',        ("found.get('digest') == stable_hash(body) and ", ''), faults.bad_manifests),
    ('one way to write a manifest', (" and data == _canonical(found)", ''), faults.bad_manifests),
    ('fallback to an older one',    ("            bad.append(str(e))\n            if not _foreign", "            raise\n            if not _foreign"), faults.truncations),
    ('quarantine',                  ('            if not _foreign(folder, run_id): bad[-1] += _quarantined(root, folder, str(e))\n', ''), faults.swaps),
    ('removal of a failed save',    ('        _remove(tmp)\n        raise\n', '        raise\n'), faults.disk_trouble),
    ('everything anew after a failed fsync', ("            fsync(tmp/name)\n", "            try: fsync(tmp/name)\n            except OSError: fsync(tmp/name)\n"), faults.disk_trouble),
    ('second try of a save',        ('            except (OSError, WelllogError) as e: self._trouble(s, e, last_try)\n', '            except WelllogError as e: self._trouble(s, e, last_try)\n'), faults.disk_trouble),
    ('trash before deletion',       ("    os.rename(folder, trash)\n    fsync(root)\n    _remove(trash)\n", "    for p in sorted(folder.iterdir(), reverse=True): os.unlink(p)\n    os.rmdir(folder)\n"), faults.kill_at_every_operation),
    ('the newest two stay',         ('steps[-max(2, recent):]', 'steps[-1:]'), faults.retention),
    ('the first stays',             (', *steps[:1], ', ', '), faults.retention),
    ('no number is not the best',   (' and values[s] == values[s]]', ']'), faults.retention),
    ('the pinned stay',             ('*(set(pinned) & set(steps))', ''), faults.retention),
    ('the lock',                    ("    with locked(path, ", "    with locked(path.with_name(f'lock{os.getpid()}'), "), faults.races),
    ('no link for a folder',        ("    if folder.is_symlink():\n        raise SetupError(f'{folder} is a link, so checkpoints", "    if False:\n        raise SetupError(f'{folder} is a link, so checkpoints"), faults.links),
    ('links are no checkpoints',    (' and p.is_dir() and not p.is_symlink()}', '}'), faults.strangers),
    ('links are not swept',         ('    if folder.is_symlink() or not folder.is_dir(): return\n', '    if not folder.is_dir(): return\n'), faults.links),
    ('one save at a time',          ('        if not wait and self.thread', '        if False and self.thread'), faults.slow_disk),
    ('a living owner elsewhere',    ("    if -stale < age < stale: raise SetupError(_taken(folder, owner))\n", ''), faults.stale_locks),
    ('the best stays',              ('*(s for _, s in scored[:max(1, best)]), ', ''), faults.lost_best),
    ('sweep at the start',          ("if p.name.startswith(('.tmp-', '.trash-'))]", "if p.name.startswith('.nothing')]"), faults.kill_at_every_operation)]

def planted(name, old, new):
    source = (ROOT/'welllog_ocr'/'run'/f'{name}.py').read_text(encoding='utf-8')
    assert source.count(old) == 1, f'{source.count(old)} places hold {old!r}'
    module = types.ModuleType('planted')
    module.__package__ = 'welllog_ocr.run'
    sys.modules['planted'] = module
    exec(compile(source.replace(old, new), 'planted', 'exec'), module.__dict__)
    return module

@pytest.mark.parametrize('what, change, inject', BUGS, ids=[b[0].replace(' ', '-') for b in BUGS])
def test_is_noticed(what, change, inject):
    name = 'lock' if inject in (faults.races, faults.stale_locks) else 'checkpoint'
    module, every = planted(name, *change), inject in (faults.kill_at_every_operation, faults.disk_trouble, faults.links, faults.slow_disk, faults.stale_locks, faults.strangers, faults.lost_best)
    with pytest.raises((AssertionError, OSError, CheckpointError, getattr(module, 'CheckpointError', OSError))): inject(module) if every else inject(module, 400)

# --- what a resume brings back

FORGOTTEN = [
    ('random generators',   ("    set_rng_state(s.state['rng'], s.optimizer)\n", '')),
    ('moments',             ('run.optimizer.state[p] = moments[name]\n', '_ = moments[name]\n')),
    ('schedule',            ("    _restore_schedule(run, state['schedule'])\n", '')),
    ('EMA',                 ("        for name, m in zip(params, run.ema.mean): m.copy_(shard_like(s.optimizer[f'average|{name}'], m))\n", '')),
    ('place in the data',   ("for name in COUNTS: setattr(", "for name in COUNTS[:2] + COUNTS[3:]: setattr(")),
    ('counts of callbacks',  ("    for c in run.callbacks: c.load_state_dict(state['guests'].get(type(c).__name__, {}) or c.state_dict())\n", ''))]

def resumed_equal(m, folder, threads=1):
    "A run resumed at step 5, on so many threads, against one that was not; with the callbacks that remember something"
    make_model(folder)
    cfg = tiny(folder, max_steps=12, train_loss_threshold=1e-9, l2_sp=50.)
    cfg.run_dir.mkdir(parents=True)
    class Keep(Callback):
        def after_step(self, run):
            if run.step == 5: self.found = capture(run)
    def start():
        rec = tiny_ctc(ALL)
        return Run(cfg, rec, run_data(cfg, rec), [Log(), StopOnLoss(cfg), StopEarly(cfg), Keep()])
    torch.manual_seed(0), random.seed(0)
    whole = start()
    fit(whole)
    want = state_digest(capture(whole)) # the generators as they are now
    torch.manual_seed(1), random.seed(1)
    rest = start()
    m.restore(rest, whole.callbacks[-1].found)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try: fit(rest)
    finally: torch.set_num_threads(before)
    assert state_digest(capture(rest)) == want

@pytest.mark.parametrize('threads', [1, 2])
def test_a_whole_resume_is_equal(threads, tmp_path):
    import welllog_ocr.run.state
    resumed_equal(welllog_ocr.run.state, tmp_path, threads)

@pytest.mark.parametrize('what, change', FORGOTTEN, ids=[b[0].replace(' ', '-') for b in FORGOTTEN])
def test_what_is_forgotten_is_noticed(what, change, tmp_path):
    module = planted('state', *change)
    with pytest.raises(AssertionError): resumed_equal(module, tmp_path)
