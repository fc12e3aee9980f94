"""Checkpoints under fire: the injections of `faults.py` against the real module. CI runs a share; `pytest -m soak` runs the full figures."""
import faults
import pytest

import welllog_ocr.checkpoint as checkpoint

FAULTS = [ # what, in the table; injection; share in CI; full figure (None: every point there is)
    ('SIGKILL at every operation of a save and of a deletion', faults.kill_at_every_operation, None, None),
    ('loss of power, unsynced effects dropped, cut or zeroed', faults.power_loss, 600, 6000),
    ('one flipped bit in any file', faults.bit_flips, 100, 1000),
    ('a truncated file', faults.truncations, 60, 300),
    ('swapped, zeroed and missing files', faults.swaps, 30, 100),
    ('manifests of every wrong kind', faults.bad_manifests, 100, 500),
    ('full disk, quota, I/O error, read-only, at every operation, once or for ever', faults.disk_trouble, None, None),
    ('retention under random metrics, against an oracle', faults.retention, 300, 5000),
    ('two processes, one run folder', faults.races, 20, 100)]

@pytest.mark.parametrize('what, inject, n, full', FAULTS, ids=[f[1].__name__ for f in FAULTS])
def test_share(what, inject, n, full): assert inject(checkpoint, n) if n else inject(checkpoint) >= 1

@pytest.mark.soak
@pytest.mark.parametrize('what, inject, n, full', FAULTS, ids=[f[1].__name__ for f in FAULTS])
def test_full(what, inject, n, full, reliability):
    tried = inject(checkpoint, full) if full else inject(checkpoint)
    reliability(what, tried, tried, 'yes')
