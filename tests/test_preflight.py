"""Each failure that preflight has to find, made to happen."""
import ctypes, errno, fcntl, os, resource, shutil, signal, subprocess, sys, tempfile, time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import forked
from conftest import ROOT
from runs import outcome, tiny

from welllog_ocr.run.checkpoint import cpu_copy
from welllog_ocr.core import ConfigError, SetupError
from welllog_ocr.files import read_jsonl, write_jsonl
from welllog_ocr.models.core import load_model
from welllog_ocr.preflight import PreflightError, preflight
from welllog_ocr.run import rehearsal
from welllog_ocr.run.checks import FAILURE, HELP, OK, PASS_ON, WARNING, check_output, check_room, check_sigterm, check_volume
from welllog_ocr.run.machine import this_machine
from welllog_ocr.run.samples import run_data
from welllog_ocr.train import train

MB = 1_000_000

def verdicts(found): return {c.name: c.verdict for c in found.failures + found.warnings}
def tree(folder): return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b'') for p in sorted(folder.rglob('*'))}

# --- the disk, in a child that may mount things or give up its rights

def in_child(act, mounts=False, uid=None):
    "What `act` raised, as `type: text`; '' when it raised nothing; None when this system does not let us prepare it"
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = b'cannot'
        try:
            if mounts: private_mounts()
            if uid: os.setgroups([]), os.setresgid(uid, uid, uid), os.setresuid(uid, uid, uid)
            said = b''
            act()
        except Exception as e:
            if said == b'': said = f'{type(e).__name__}: {e}'.encode()
        finally:
            os.write(write, said[:4000])
            os._exit(0)
    os.close(write)
    with os.fdopen(read, 'rb') as f: said = f.read().decode()
    os.waitpid(pid, 0)
    if said == 'cannot': pytest.skip('this system does not let a process have mounts of its own, or another user')
    return said

def private_mounts():
    uid, gid = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000 | 0x00020000): raise OSError('unshare')
    for name, text in (('setgroups', 'deny'), ('uid_map', f'0 {uid} 1'), ('gid_map', f'0 {gid} 1')): Path(f'/proc/self/{name}').write_text(text)

def mount(*args):
    subprocess.run(['mount', *map(str, args)], check=True, capture_output=True)

def output(cfg, size): check_output(cfg, [size])

def small_disk(folder, size, act):
    def inside():
        folder.mkdir(exist_ok=True)
        mount('-t', 'tmpfs', '-o', f'size={size}', 'none', folder)
        act()
        assert not list(folder.iterdir())
    return inside

def test_a_full_disk(tmp_path):
    cfg = tiny(tmp_path, output_dir=str(tmp_path/'disk'/'runs'))
    spent = lambda: sum(os.times()[:4]) # of this process and its children; a busy machine changes nothing about it
    start = spent()
    said = in_child(small_disk(tmp_path/'disk', '4m', lambda: output(cfg, 6*MB)), mounts=True)
    assert 'SetupError' in said and 'the disk is full (ENOSPC)' in said and 'of 6.0 MB' in said and spent() - start < 2
    assert in_child(small_disk(tmp_path/'disk', '4m', lambda: output(cfg, 2*MB)), mounts=True) == '' # what fits leaves nothing behind

def test_nothing_is_left_on_a_full_disk(tmp_path):
    cfg = tiny(tmp_path, output_dir=str(tmp_path/'disk'/'deep'/'runs'))
    def act():
        with pytest.raises(SetupError): output(cfg, 6*MB)
    assert in_child(small_disk(tmp_path/'disk', '4m', act), mounts=True) == ''

def test_a_disk_that_lies(tmp_path, monkeypatch):
    "685 TB are free, says a network volume of 64 MB"
    class Lie: f_bavail = f_bfree = f_blocks = 685*10**12//4096; f_frsize, f_flag = 4096, 0
    cfg = tiny(tmp_path, output_dir=str(tmp_path/'disk'/'runs'))
    def act():
        monkeypatch.setattr(os, 'statvfs', lambda path: Lie)
        assert check_room(cfg, 70*MB, 10*MB).verdict == OK # believed, for there is nothing else to go by
        output(cfg, int(1.2*70*MB))
    said = in_child(small_disk(tmp_path/'disk', '64m', act), mounts=True)
    assert 'the disk is full' in said and 'of 84 MB' in said

def test_a_disk_mounted_for_reading(tmp_path):
    cfg = tiny(tmp_path)
    (tmp_path/'runs').mkdir()
    def act(): mount('--bind', tmp_path/'runs', tmp_path/'runs'), mount('-o', 'remount,ro,bind', tmp_path/'runs'), output(cfg, 10)
    said = in_child(act, mounts=True)
    assert 'mounted read-only (EROFS)' in said

def test_a_folder_without_rights(request):
    tmp_path = Path(tempfile.mkdtemp()) # every pytest that starts takes the rights of others in the folder of tmp_path
    request.addfinalizer(lambda: shutil.rmtree(tmp_path))
    cfg = tiny(tmp_path)
    (tmp_path/'runs'/'x').mkdir(parents=True)
    tmp_path.chmod(0o755)
    for p in (tmp_path/'runs', tmp_path/'runs'/'x'):
        p.chmod(0o555)
        assert 'no right to write there (EACCES)' in in_child(lambda: output(cfg, 10), uid=65534)
        p.chmod(0o777)
    assert in_child(lambda: output(cfg, 10), uid=65534) == ''

def test_a_limit_on_file_size(tmp_path):
    def act():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2*MB, 2*MB))
        output(tiny(tmp_path), 3*MB)
    assert 'may not grow that large (EFBIG)' in in_child(act)
    assert not (tmp_path/'runs').exists()

def test_a_quota(tmp_path, monkeypatch):
    def full(fd): raise OSError(errno.EDQUOT, 'Disk quota exceeded')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(SetupError, match=r'quota is used up \(EDQUOT\)'): output(tiny(tmp_path), 10)
    assert not (tmp_path/'runs').exists()

def test_room_for_what_is_kept(tmp_path):
    cfg = tiny(tmp_path)
    assert check_room(cfg, MB, MB, free=lambda p: 9*MB).verdict == OK
    short = check_room(cfg, MB, MB, free=lambda p: 8*MB)
    assert short.verdict == FAILURE and 'max_checkpoints=3' in short.advice
    (tmp_path/'runs'/'x').mkdir(parents=True)
    (tmp_path/'runs'/'x'/'old').write_bytes(bytes(2*MB))
    assert check_room(cfg, MB, MB, free=lambda p: 8*MB).verdict == OK # a part of it is there already

def test_a_volume_that_is_a_plain_folder(tmp_path):
    cfg = tiny(tmp_path, volume=str(tmp_path/'vol'), output_dir=str(tmp_path/'vol'/'runs'))
    assert 'does not exist' in check_volume(cfg, {}).seen
    (tmp_path/'vol').mkdir()
    assert 'plain folder' in check_volume(cfg, {}).seen
    def act():
        mount('-t', 'tmpfs', 'none', tmp_path/'vol')
        found = check_volume(cfg, {})
        assert (found.verdict, 'in memory' in found.seen) == (WARNING, True), found # mounted, but not on a disk
        assert check_volume(cfg.replace(output_dir=str(tmp_path/'runs')), {}).verdict == FAILURE
    assert in_child(act, mounts=True) == ''

# --- signals

def first_process(*command):
    "What a process below `command` would be told, where `command` is process 1 of a namespace"
    p = subprocess.Popen(['unshare', '-rpf', '--mount-proc', *command], stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if p.poll() is not None: pytest.skip(f'no namespaces here: {p.stderr.read().strip()}')
            child = Path(f'/proc/{p.pid}/task/{p.pid}/children').read_text().split()
            proc = Path(f'/proc/{child[0]}/root/proc') if child else Path('/none')
            try: inside = {f.name: (f/'comm').read_text().strip() for f in proc.glob('[0-9]*')}
            except OSError: inside = {}
            pid = next((int(i) for i, name in inside.items() if name == 'sleep'), 0)
            if pid and inside.get('1') == 'bash': return check_sigterm(proc, pid)
            time.sleep(.02)
        pytest.fail('the namespace did not come up')
    finally: os.killpg(p.pid, signal.SIGKILL)

@pytest.fixture
def start_script(tmp_path):
    (tmp_path/'start.sh').write_text('#!/bin/bash\nsleep 30\nexit 0\n')
    (tmp_path/'start.sh').chmod(0o755)
    return tmp_path/'start.sh'

def test_sigterm_does_not_get_past_a_start_script(start_script):
    found = first_process('bash', str(start_script))
    assert found.verdict == WARNING and 'SIGTERM will not reach the training (process 1 (bash' in found.seen and HELP in found.advice

def test_sigterm_passes_the_recommended_command(start_script):
    command = PASS_ON.removeprefix("bash -c '").removesuffix("'").replace('/start.sh', str(start_script))
    found = first_process('bash', '-c', command)
    assert found.verdict == OK and 'process 1 (bash' in found.seen

@pytest.mark.parametrize('how', ['ignored', 'blocked'])
def test_sigterm_that_is_not_heard(how):
    def act():
        if how == 'ignored': signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        raise ValueError(check_sigterm())
    assert f'started with SIGTERM {how}' in in_child(act)

# --- model, data, run, memory, workers: all at once

def test_all_failures_at_once(home):
    cfg = tiny(home, preflight=True, model_name=str(home/'nothing'), data_path=str(home/'nowhere'), volume=str(home/'vol'))
    found = preflight(cfg)
    assert [c.name for c in found.failures] == ['model', 'data', 'volume']
    with pytest.raises(PreflightError, match='3 of'): train(cfg)
    assert sorted(p.name for p in home.iterdir()) == ['model']

def test_a_model_that_is_half_there(home):
    weights = home/'model'/'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:3000])
    assert 'cannot be loaded' in preflight(tiny(home)).failures[0].seen
    assert 'nothing would be frozen' in preflight(tiny(home, model_name='PP-OCRv6-small', freeze='attic')).failures[0].seen

def test_bad_data(home, drawn):
    table = drawn/'train'/'metadata.jsonl'
    rows = read_jsonl(table)
    cfg = tiny(home, data_path=str(drawn), synth_share=0.)
    for r in rows: (drawn/'train'/r['file_name']).write_bytes(b'not an image')
    assert 'cannot be decoded' in preflight(cfg).failures[0].seen
    write_jsonl(table, [{'file_name': r['file_name'], 'txt': r['text']} for r in rows])
    assert "no column 'text'" in preflight(cfg).failures[0].seen

def test_some_bad_rows_are_a_warning(home, drawn):
    rows = read_jsonl(drawn/'train'/'metadata.jsonl')
    (drawn/'train'/rows[0]['file_name']).write_bytes(b'not an image')
    found = preflight(tiny(home, data_path=str(drawn), synth_share=0.))
    assert not found.failures and any('left out' in c.seen and rows[0]['file_name'] in c.seen for c in found.warnings), found.warnings

def test_an_existing_run_is_asked_and_not_touched(home):
    cfg = tiny(home, max_steps=4)
    train(cfg)
    before = tree(home/'runs'/'x')
    found = preflight(cfg.replace(learning_rate=2e-3, max_steps=6))
    assert not found.failures and 'learning_rate' in next(c for c in found.checks if c.name == 'run').seen
    assert found.rehearsal and 'going on from step 4' in str(found)
    changed = preflight(cfg.replace(seed=1)).failures
    assert 'seed: 3407 -> 1' in changed[0].seen and isinstance(changed[0].error, ConfigError)
    assert 'leaves existing runs alone' in preflight(cfg.replace(resume_from_checkpoint='never')).failures[0].seen
    with open(home/'runs'/'x'/'lock') as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        taken = preflight(cfg)
    assert 'another process is training there' in taken.failures[0].seen and taken.rehearsal is None
    assert tree(home/'runs'/'x') == before

def test_memory_that_is_too_small(home):
    small = replace(this_machine(), free=20*MB)
    found = preflight(tiny(home), machine=small)
    memory = next(c for c in found.checks if c.name == 'memory')
    assert memory.verdict == FAILURE and 'kept for backward' in memory.seen and '20 MB are free' in memory.seen and found.rehearsal is None

def test_memory_that_is_too_small_when_it_is_tried(home, monkeypatch):
    def full(run, micro): raise torch.OutOfMemoryError('CUDA out of memory.')
    monkeypatch.setattr(rehearsal, 'train_step', full)
    found = preflight(tiny(home))
    assert 'one sample alone was too much' in next(c for c in found.checks if c.name == 'memory').seen

def test_shared_memory_that_is_too_small(home):
    found = preflight(tiny(home, dataloader_num_workers=2), machine=replace(this_machine(), shm=.1*MB, cores=4))
    failed = next(c for c in found.checks if c.name == 'workers')
    assert failed.verdict == FAILURE and '5 batches of' in failed.seen and 'dataloader_num_workers=' in failed.advice
    def act(): # and measured for real
        mount('-t', 'tmpfs', '-o', 'size=64k', 'none', '/dev/shm')
        assert this_machine().shm <= 64*1024
    assert in_child(act, mounts=True) == ''

def test_a_save_that_fails(home, monkeypatch):
    import welllog_ocr.run.checkpoint as checkpoint
    def full(path, data): raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(checkpoint, '_write', full)
    found = preflight(tiny(home))
    assert 'the disk is full' in next(c for c in found.failures if c.name == 'rehearsal').seen and not (home/'runs').exists()

# --- what a rehearsal leaves

@pytest.mark.parametrize('changes', [dict(), dict(gradient_accumulation_steps=2, dataloader_num_workers=1), dict(ema_decay=0., freeze='encoder.convolution')], ids=['plain', 'accumulated', 'frozen'])
def test_a_run_is_the_same_with_and_without(home, changes):
    cfg = tiny(home, max_steps=6, eval_steps=3, **changes)
    with_it, without = train(cfg.replace(preflight=True, experiment_name='with')), train(cfg.replace(experiment_name='without'))
    a, b = outcome(with_it), outcome(without)
    assert a == b and a['metrics']
    start = [next(e for e in read_jsonl(f/'events.jsonl') if e['event'] == 'start') for f in (with_it, without)]
    assert start[0]['rehearsal']['step_s'] > 0 and start[1]['rehearsal'] is None

def test_a_failed_rehearsal_puts_everything_back_too(home, monkeypatch):
    cfg, real = tiny(home), rehearsal.train_step
    def fails(run, micro): real(run, micro); raise RuntimeError('a bug')
    rec = load_model(cfg)
    before, state = cpu_copy(rec.state_dict()), torch.get_rng_state()
    monkeypatch.setattr(rehearsal, 'train_step', fails)
    with pytest.raises(RuntimeError, match='a bug'): rehearsal.rehearse(cfg, rec, run_data(cfg, rec), this_machine())
    assert all(torch.equal(t, before[n]) for n, t in rec.state_dict().items()) and torch.equal(torch.get_rng_state(), state)

def test_the_command(home):
    from welllog_ocr.config import config_json
    (home/'c.json').write_text(config_json(tiny(home, gpu_hourly_rate=1.5)))
    run = partial(forked.run, 'welllog_ocr.preflight', '--config', home/'c.json')
    good = run()
    assert good.returncode == 0 and 'nothing stands in the way' in good.stdout and '4 x 1 = 4 effective' in good.stdout and '$' in good.stdout, good.stderr
    assert sorted(p.name for p in home.iterdir()) == ['c.json', 'model']
    bad = run('--model_name', home/'none', '--volume', home/'vol')
    assert bad.returncode == 3 and '2 of' in bad.stderr and 'Traceback' not in bad.stderr and 'volume=' in bad.stderr

def test_the_options_of_process_1_are_not_told(tmp_path):
    for pid, parent in ((1, 0), (30, 1)):
        (tmp_path/str(pid)).mkdir()
        (tmp_path/str(pid)/'status').write_text(f'Name:\tjupyter\nPPid:\t{parent}\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0\n')
        (tmp_path/str(pid)/'cmdline').write_text('jupyter\0lab\0--ServerApp.token=CANARY\0')
    said = str(check_sigterm(tmp_path, 30))
    assert 'process 1 (jupyter lab)' in said and 'CANARY' not in said
