"""Faults inside single system calls: strace attaches to a child and kills it in its nth `fsync`, or makes that call fail"""
import ctypes, os, shutil, signal, subprocess

import faults

STRACE = shutil.which('strace')
PR_SET_PTRACER, ANY = 0x59616d61, ctypes.c_ulong(-1)

CALLS = ('mkdir', 'openat', 'write', 'fsync', 'rename', 'unlink', 'rmdir')
also = lambda call: f'/^{call.removesuffix("at")}(at|at2)?$' # some machines have only the one that ends in `at`

def watched(work, inject):
    "Exit status of `work` in a child of this process, negative for a signal, with strace injecting a fault"
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY, 0, 0, 0)
            os.read(ready, 1)
            work()
            os._exit(0)
        except BaseException: os._exit(99)
    tracer = subprocess.Popen([STRACE, '-f', '-o', '/dev/null', '-e', f'trace={inject.split(":")[0]}', '-e', f'inject={inject}', '-p', str(pid)], stderr=subprocess.PIPE, text=True)
    said = tracer.stderr.readline()
    if 'attached' not in said: os.kill(pid, signal.SIGKILL)
    os.write(go, b'x')
    status = os.waitpid(pid, 0)[1]
    tracer.wait(), tracer.stderr.close(), os.close(ready), os.close(go)
    assert 'attached' in said, said
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

def can_attach()->bool:
    if not STRACE: return False
    try: return watched(lambda: os.mkdir('/proc/never'), 'mkdir:error=EEXIST') == 99
    except AssertionError: return False

def _prepared(m, steps=(5, 10, 20)):
    root = faults.temporary()
    for step in steps: m.save(root, faults.snapshot(m, step), 'run')
    return root

def kill_in_every_call(m, every=1):
    "SIGKILL in each system call of a save with the deletion after it; `every` 3 takes each third"
    tried = {}
    def work(root):
        m.save(root, faults.snapshot(m, 30), 'run')
        m.prune(root, 'run', recent=2) # 10 goes
    for call in CALLS:
        at = 1
        while True:
            root = _prepared(m)
            status = watched(lambda: work(root), f'{also(call)}:signal=SIGKILL:when={at}')
            found, bad = m.latest_valid(root, 'run')
            assert faults.is_step(m, found, 20) or faults.is_step(m, found, 30), (call, at)
            assert not bad, (call, at, bad)
            for folder in m.checkpoints(root).values(): m.verify(folder, 'run')
            assert 5 in m.checkpoints(root) and 20 in m.checkpoints(root), (call, at)
            m.sweep(root)
            assert not list(root.glob('.t*')), (call, at)
            shutil.rmtree(root)
            if status == 0: break # beyond the last one
            assert status == -signal.SIGKILL, (call, at, status)
            tried[call], at = tried.get(call, 0) + 1, at + every
    assert set(tried) == set(CALLS), f'never called: {set(CALLS) - set(tried)}'
    return sum(tried.values())

ERRORS = [('write', 'ENOSPC'), ('write', 'EDQUOT'), ('write', 'EFBIG'), ('fsync', 'EIO'), ('fsync', 'ENOTCONN'), ('rename', 'EIO'), ('rename', 'ESTALE'), ('mkdir', 'EROFS'), ('unlink', 'EACCES')]

def fail_in_every_call(m, every=1):
    "Each system call of a save fails, once, three times or for ever: nothing valid is lost, nothing temporary stays, and what is said to be saved is"
    tried = 0
    def work(root):
        told = []
        path = m.Saver(root, 'run', recent=2, log=lambda what, **facts: told.append(what)).save_now(faults.snapshot(m, 30))
        trouble = {'save_failed', 'prune_failed'} & set(told) or list(root.glob('.t*'))
        os._exit(11 if path is None else 12 if trouble else 10)
    for call, error in ERRORS:
        for when in ('{}', '{}..{}', '{}+'):
            at = 1
            while True:
                root = _prepared(m)
                status = watched(lambda: work(root), f'{also(call)}:error={error}:when={when.format(at, at + 2)}')
                assert status in (10, 11, 12), (call, error, at, status)
                found, bad = m.latest_valid(root, 'run')
                assert faults.is_step(m, found, 30) or (status == 11 and faults.is_step(m, found, 20)), (call, error, when, at)
                assert not bad, bad
                assert not list(root.glob('.tmp*')) or call == 'unlink', (call, error, when, at)
                m.sweep(root)
                assert not list(root.glob('.t*'))
                shutil.rmtree(root)
                if status == 10: break # beyond the last one: nothing failed
                tried, at = tried + 1, at + every
    assert tried >= 2*len(ERRORS)
    return tried
