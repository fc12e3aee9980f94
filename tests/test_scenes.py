"""Trainings that are killed while they resume, told to leave with a large state, or put on disks that are full. CI runs a share; `pytest -m soak` the full figures."""
import json, os, shutil, subprocess
from functools import cache

import forked
import pytest

MOUNTS = ['unshare', '-m' if os.geteuid() == 0 else '-rm'] # a view of the disks of its own, in which anyone may mount

@cache
def can_mount()->bool:
    return shutil.which('unshare') is not None and subprocess.run([*MOUNTS, 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', '/mnt'], capture_output=True).returncode == 0

SCENES = [ # what, in the table; scene; share in CI; full figure; needs a disk of its own; what came of it
    ('SIGKILL while loading, while resuming and right after, ten in a row between two saves', 'kills_while_resuming', 10, 100, False, lambda f: 'yes'),
    ('bursts of SIGTERM and SIGINT while a step hangs', 'bursts', 4, 50, False, lambda f: 'one save each'),
    ('SIGTERM while a step hangs, 200 MB to save, SIGKILL after 5 s', 'large_state', 1, 20, False, lambda f: f'saved within {f["slowest_s"]} s'),
    ('a real file system with too little room for a checkpoint, 30 sizes', 'full_disks', 30, 30, True, lambda f: f'{f["not_saved"]} saves refused, none lost'),
    ('a whole training on a disk that is too small, then made larger', 'training_on_full_disks', 2, 20, True, lambda f: 'yes'),
    ('no rights, read-only, file limit, quota when a training starts', 'bad_disks_at_the_start', 1, 1, True, lambda f: f'one error within {f["slowest_s"]} s')]

def play(name, n, disk):
    if disk and not can_mount(): pytest.skip('needs to mount a small disk for itself: unshare of util-linux, and user namespaces')
    got = forked.run('scenes', name, n)
    assert got.returncode == 0, got.stderr[-3000:]
    return json.loads(got.stdout.splitlines()[-1])

@pytest.mark.parametrize('what, name, n, full, disk, came', SCENES, ids=[s[1] for s in SCENES])
def test_share(what, name, n, full, disk, came): play(name, n, disk)

@pytest.mark.soak
@pytest.mark.parametrize('what, name, n, full, disk, came', SCENES, ids=[s[1] for s in SCENES])
def test_full(what, name, n, full, disk, came, reliability):
    found = play(name, full, disk)
    if name == 'large_state': assert found['slowest_s'] <= 3 # on a machine that does nothing else; in CI, before the SIGKILL
    tried = found.get('kills', found.get('tried'))
    reliability(what, tried, tried, came(found))
