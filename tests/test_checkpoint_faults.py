"""Checkpoints under fire: the injections of `faults.py` against the real module. CI runs a share; `pytest -m soak` runs the full figures."""
import json, os

import faults
import pytest
import syscalls
from hypothesis import HealthCheck, given, settings, strategies as st

import welllog_ocr.run.checkpoint as checkpoint
import welllog_ocr.run.lock as lock

FAULTS = [ # what, in the table; injection; share in CI; full figure (None: every point there is)
    ('SIGKILL at every operation of a save and of a deletion', faults.kill_at_every_operation, None, None),
    ('loss of power, unsynced effects dropped, cut or zeroed', faults.power_loss, 600, 6000),
    ('one flipped bit in any file', faults.bit_flips, 100, 1000),
    ('a truncated file', faults.truncations, 60, 300),
    ('swapped, zeroed and missing files', faults.swaps, 30, 100),
    ('manifests of every wrong kind', faults.bad_manifests, 100, 500),
    ('full disk, quota, I/O error, read-only, stale handle, at every operation, once, twice or for ever', faults.disk_trouble, 1, 6),
    ('retention under random metrics, against an oracle', faults.retention, 300, 5000),
    ('two processes, one run folder', faults.races, 20, 100),
    ('a lock that another machine left, silent or alive', faults.stale_locks, 5, 50),
    ('pointer files, loops of links and other strangers among the checkpoints', faults.strangers, 20, 200),
    ('links in place of folders and files', faults.links, 2, 10),
    ('a disk slower than the saves', faults.slow_disk, 1, 10),
    ('the best checkpoint deleted or damaged', faults.lost_best, 4, 50)]

def module(inject): return lock if inject in (faults.races, faults.stale_locks) else checkpoint

@pytest.mark.parametrize('what, inject, n, full', FAULTS, ids=[f[1].__name__ for f in FAULTS])
def test_share(what, inject, n, full): assert (inject(module(inject), n) if n else inject(module(inject))) >= 1

@pytest.mark.soak
@pytest.mark.parametrize('what, inject, n, full', FAULTS, ids=[f[1].__name__ for f in FAULTS])
def test_full(what, inject, n, full, reliability):
    tried = inject(module(inject), full) if full else inject(module(inject))
    reliability(what, tried, tried, 'yes')

# --- inside single system calls

CALLS = [('SIGKILL in every system call of a save and of a deletion', syscalls.kill_in_every_call, 5), ('every system call of a save fails, once, three times or for ever', syscalls.fail_in_every_call, 9)]

@pytest.fixture(scope='module')
def strace():
    if not syscalls.can_attach(): pytest.skip('needs strace, and the right to attach it to a process: apt-get install strace')

@pytest.mark.parametrize('what, inject, every', CALLS, ids=[c[1].__name__ for c in CALLS])
def test_some_calls(what, inject, every, strace): assert inject(checkpoint, every) >= 8

@pytest.mark.soak
@pytest.mark.parametrize('what, inject, every', CALLS, ids=[c[1].__name__ for c in CALLS])
def test_every_call(what, inject, every, strace, reliability):
    tried = inject(checkpoint)
    reliability(what, tried, tried, 'yes')

# --- manifests that no one would think of

anything = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6)
KEYS = ('format', 'run_id', 'step', 'files', 'facts', 'digest')

def mutated(data, found):
    "The manifest with some keys changed, lost or nested, sealed again by the right hash or not"
    for key in data.draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3)):
        where = found if key != 'files' or data.draw(st.booleans()) else found.get('files')
        if not isinstance(where, dict): continue
        name = key if where is found else data.draw(st.sampled_from(['state.json', '../state.json', 'more', '']))
        if data.draw(st.booleans()): where.pop(name, None)
        else: where[name] = data.draw(anything)
    if data.draw(st.booleans()): found['digest'] = checkpoint.stable_hash({k: v for k, v in found.items() if k != 'digest'})
    return found

def hold_against_mutations(n):
    root = faults.temporary()
    for step in (10, 20): checkpoint.save(root, faults.snapshot(checkpoint, step), 'run')
    path = root/'step-00000020'/'manifest.json'
    whole = json.loads(path.read_bytes())
    @settings(max_examples=n, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def run(data):
        found = mutated(data, json.loads(json.dumps(whole)))
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + '\n')
        try: checkpoint.verify(path.parent, 'run')
        except checkpoint.CheckpointError: return
        for key in ('format', 'run_id', 'step', 'files'): assert (type(found[key]), found[key]) == (type(whole[key]), whole[key]), f'{key} was changed to {found[key]!r}, and it was believed'
    run()
    return n

def test_some_mutations(): hold_against_mutations(100)

@pytest.mark.soak
def test_many_mutations(reliability):
    n = hold_against_mutations(500)
    reliability('manifests changed at random, sealed again by the right hash or not', n, n, 'yes')

@pytest.mark.parametrize('what, text, says', [('future', '{"format": 99}', 'upgrade'), ('deep', '['*200_000, 'not JSON'), ('deep, closed', '{"a":'*5000 + '1' + '}'*5000, 'manifest'), ('empty', '', 'not JSON'), ('1 GB', None, 'no manifest')], ids=lambda v: v if isinstance(v, str) and len(v) < 20 else '')
def test_odd_manifests_are_told_apart(what, text, says):
    root = faults._two(checkpoint)
    path = root/'step-00000020'/'manifest.json'
    if text is None: os.truncate(path, 2**30) # sparse: it takes no room
    else: path.write_text(text)
    found, bad = checkpoint.latest_valid(root, 'run')
    assert found.step == 10 and says in bad[0]
    assert (path.exists()) == (what == 'future') # that one is not bad, only unreadable here

def test_a_save_whose_state_json_cannot_hold_is_told_and_the_next_one_works():
    root, told = faults.temporary(), []
    saver = checkpoint.Saver(root, 'run', log=lambda what, **facts: told.append((what, facts.get('why', ''))))
    s = faults.snapshot(checkpoint, 10)
    s.state['guests'] = dict(mean=float('nan'))
    saver.submit(s, wait=True)
    assert [t for t, _ in told] == ['save_failed', 'save_failed'] and 'JSON' in told[0][1] and not list(root.iterdir())
    assert saver.save_now(faults.snapshot(checkpoint, 20, float('nan'))).name == 'step-00000020'

def test_a_bad_checkpoint_on_a_full_disk_does_not_hide_an_older_one():
    root = faults._two(checkpoint)
    (root/'step-00000020'/'model.safetensors').write_bytes(b'')
    class Full(faults.Disk):
        def rename(self, old, new): raise OSError(28, 'No space left on device')
    with faults.on(checkpoint, Full()): found, bad = checkpoint.latest_valid(root, 'run')
    assert found.step == 10 and 'could not be moved' in bad[0]
