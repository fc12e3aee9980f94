"""Does the suite notice when a protection is gone? Each planted bug takes one line out of a module; one of the injections has to fail for it."""
import random, sys, types

import faults
import pytest
import torch
from conftest import ROOT
from runs import ALL, make_model, tiny

from welllog_ocr.checkpoint import state_digest
from welllog_ocr.run.samples import run_data
from welllog_ocr.run.callbacks import Callback, Log, StopEarly, StopOnLoss
from welllog_ocr.models.ctc import tiny_ctc
from welllog_ocr.run.step import Run, capture

BUGS = [ # what is gone, (the code, what stands there instead), the injection that has to notice
    ('fsync of the files',          ('            disk.fsync(tmp/name)\n', ''), faults.power_loss),
    ('fsync of the new folder',     ('        disk.sync_dir(tmp)\n', ''), faults.power_loss),
    ('fsync of the parent',         ('        disk.rename(tmp, target)\n        disk.sync_dir(root)\n', '        disk.rename(tmp, target)\n'), faults.power_loss),
    ('rename into place',           ("        disk.rename(tmp, target)\n        disk.sync_dir(root)\n        verify(target, run_id)\n", '        import shutil; disk.mkdir(target)\n        for p in tmp.iterdir(): disk.write(target/p.name, p.read_bytes())\n        for p in list(tmp.iterdir()): disk.unlink(p)\n        disk.rmdir(tmp)\n        disk.sync_dir(root)\n'), faults.power_loss),
    ('manifest last',               ('[*files.items(), (MANIFEST, _manifest(run_id, s, files))]', '[(MANIFEST, _manifest(run_id, s, files)), *files.items()][:2]'), faults.kill_at_every_operation),
    ('hash of the files',           ("            if found != want['sha256']", "            if False and found != want['sha256']"), faults.bit_flips),
    ('hash of the manifest',        ("found.get('digest') == stable_hash({k: v for k, v in found.items() if k != 'digest'}) and ", ''), faults.bad_manifests),
    ('one way to write a manifest', (" and data == _canonical(found)", ''), faults.bad_manifests),
    ('fallback to an older one',    ("            bad.append(str(e))\n            if not _foreign", "            raise\n            if not _foreign"), faults.truncations),
    ('quarantine',                  ('            if not _foreign(folder, run_id): bad[-1] += _quarantined(root, folder, str(e), disk)\n', ''), faults.swaps),
    ('removal of a failed save',    ('        _remove(tmp, disk)\n        raise\n', '        raise\n'), faults.disk_trouble),
    ('everything anew after a failed fsync', ("            disk.fsync(tmp/name)\n", "            try: disk.fsync(tmp/name)\n            except OSError: disk.fsync(tmp/name)\n"), faults.disk_trouble),
    ('second try of a save',        ('            except (OSError, WelllogError) as e: self._trouble(s, e, last_try)\n', '            except WelllogError as e: self._trouble(s, e, last_try)\n'), faults.disk_trouble),
    ('trash before deletion',       ("    disk.rename(folder, trash)\n    disk.sync_dir(root)\n    _remove(trash, disk)\n", "    for p in sorted(folder.iterdir(), reverse=True): disk.unlink(p)\n    disk.rmdir(folder)\n"), faults.kill_at_every_operation),
    ('the newest two stay',         ('steps[-max(2, recent):]', 'steps[-1:]'), faults.retention),
    ('the first stays',             (', *steps[:1], ', ', '), faults.retention),
    ('no number is not the best',   (' and values[s] == values[s])', ')'), faults.retention),
    ('the pinned stay',             ('*(set(pinned) & set(steps))', ''), faults.retention),
    ('the lock',                    ('        try: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n', '        try: pass\n'), faults.races),
    ('no link for a folder',        ("    if folder.is_symlink(): raise SetupError(f'{folder} is a link, so checkpoints", "    if False: raise SetupError(f'{folder} is a link, so checkpoints"), faults.links),
    ('links are no checkpoints',    (' and p.is_dir() and not p.is_symlink()}', '}'), faults.strangers),
    ('links are not swept',         ('    if folder.is_symlink() or not folder.is_dir(): return\n', '    if not folder.is_dir(): return\n'), faults.links),
    ('one save at a time',          ('        if self.busy and not wait:', '        if False:'), faults.slow_disk),
    ('a living owner elsewhere',    ("    if -stale < age < stale: raise SetupError(_taken(folder, fd))\n", ''), faults.stale_locks),
    ('the best stays',              ('*(s for _, s in scored[:max(1, best)]), ', ''), faults.lost_best),
    ('sweep at the start',          ("if p.name.startswith(('.tmp-', '.trash-'))]", "if p.name.startswith('.nothing')]"), faults.kill_at_every_operation)]

def planted(name, old, new):
    source = (ROOT/'welllog_ocr'/f'{name}.py').read_text(encoding='utf-8')
    assert source.count(old) == 1, f'{source.count(old)} places hold {old!r}'
    module = types.ModuleType('planted')
    module.__package__ = 'welllog_ocr'
    sys.modules['planted'] = module
    exec(compile(source.replace(old, new), 'planted', 'exec'), module.__dict__)
    return module

@pytest.mark.parametrize('what, change, inject', BUGS, ids=[b[0].replace(' ', '-') for b in BUGS])
def test_is_noticed(what, change, inject):
    module, every = planted('checkpoint', *change), inject in (faults.kill_at_every_operation, faults.disk_trouble, faults.links, faults.slow_disk, faults.stale_locks, faults.strangers, faults.lost_best)
    with pytest.raises((AssertionError, OSError, module.CheckpointError)): inject(module) if every else inject(module, 400)

# --- what a resume brings back

FORGOTTEN = [
    ('random generators',   ("    set_rng_state(s.state['rng'], s.optimizer)\n", '')),
    ('moments',             ('run.optimizer.state[p] = moments[name]\n', '_ = moments[name]\n')),
    ('schedule',            ("    _restore_schedule(run, state['schedule'])\n", '')),
    ('average',             ("        for name, m in zip(params, run.average.mean): m.copy_(as_pieces(s.optimizer[f'average|{name}'], m))\n", '')),
    ('place in the data',   ("for name in ('step', 'epoch', 'at', ", "for name in ('step', 'epoch', ")),
    ('counts of the guests', ("    for guest in run.guests: guest.load_state_dict(state['guests'].get(type(guest).__name__, {}) or guest.state_dict())\n", ''))]

def resumed_equal(m, folder):
    "A run resumed at step 5 against one that was not, with the guests that remember something"
    make_model(folder)
    cfg = tiny(folder, max_steps=12, train_loss_threshold=1e-9)
    cfg.run_dir.mkdir(parents=True)
    class Keep(Callback):
        def after_step(self, run):
            if run.step == 5: self.found = capture(run)
    def start():
        rec = tiny_ctc(ALL)
        return Run(cfg, rec, run_data(cfg, rec), [Log(), StopOnLoss(cfg), StopEarly(cfg), Keep()])
    torch.manual_seed(0), random.seed(0)
    whole = start()
    m.fit(whole)
    want = state_digest(capture(whole)) # the generators as they are now
    torch.manual_seed(1), random.seed(1)
    rest = start()
    m.restore(rest, whole.callbacks[-1].found)
    m.fit(rest)
    assert state_digest(capture(rest)) == want

def test_a_whole_resume_is_equal(tmp_path):
    import welllog_ocr.train
    resumed_equal(welllog_ocr.train, tmp_path)

@pytest.mark.parametrize('what, change', FORGOTTEN, ids=[b[0].replace(' ', '-') for b in FORGOTTEN])
def test_what_is_forgotten_is_noticed(what, change, tmp_path):
    module = planted('train', *change)
    with pytest.raises(AssertionError): resumed_equal(module, tmp_path)
