"""Scenes of a training that need processes, limits and disks of their own: python tests/scenes.py SCENE N. Prints what was found as JSON."""
import ctypes, json, math, os, random, resource, shutil, signal, subprocess, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import torch
from runs import import_ahead, in_child, make_model, outcome, tiny

import faults, syscalls
import welllog_ocr.run.checkpoint as checkpoint
import welllog_ocr.run.callbacks as callbacks
import welllog_ocr.run.state as state
import welllog_ocr.models.core as models
import welllog_ocr.train as training
from welllog_ocr.core import SetupError
from welllog_ocr.files import read_jsonl
from welllog_ocr.run.callbacks import Callback
from welllog_ocr.train import train

def place(model=True):
    folder = Path(tempfile.mkdtemp(prefix='scenes-'))
    folder.chmod(0o755)
    if model: in_child(lambda: make_model(folder))
    return folder

def found_by(folder, run):
    "`outcome`, worked out in another process, since this one only forks"
    assert in_child(lambda: (folder/'outcome.json').write_text(json.dumps(outcome(run)))) == 0
    return {**json.loads((folder/'outcome.json').read_text()), 'kept': None} # a kill may leave one more

def alone(folder, **changes):
    "What an undisturbed training leaves"
    assert in_child(lambda: train(tiny(folder, experiment_name='alone', **changes))) == 0
    return found_by(folder, folder/'runs'/'alone')

# --- killed while it resumes

def die_in(module, name, after=False):
    "From now on, a call of `name` is the end of the process"
    real = getattr(module, name)
    def fatal(*args, **kw):
        if after: real(*args, **kw)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(module, name, fatal)

POINTS = [(checkpoint, 'load_tensors'), (checkpoint, 'verify'), (state, 'latest_valid'), (state, 'restore'), (state, 'restore', True), (state, 'cut_back'), (state, 'cut_back', True),
          (training, 'resume', True), (training, 'train_step'), (training, 'train_step', True), (checkpoint, '_manifest')] # the last: in the middle of the first save after a resume

def save_of(run): return next(g for g in run.callbacks if isinstance(g, callbacks.Save))

def kills_while_resuming(n):
    "Runs of ten kills, each at some point of loading and resuming, before the next checkpoint is there"
    folder, rng, kills = place(), random.Random(0), 0
    want = alone(folder)
    while kills < n:
        run = folder/'runs'/'x'
        class Gone(Callback):
            def after_step(self, r):
                if r.step == 7:
                    save_of(r).saver.wait() # there is something to resume from
                    os.kill(os.getpid(), signal.SIGKILL)
        assert in_child(lambda: train(tiny(folder), [Gone()])) == -signal.SIGKILL
        newest = max(checkpoint.checkpoints(run/'checkpoints'))
        for _ in range(10):
            point = rng.choice(POINTS)
            assert in_child(lambda: (die_in(*point), train(tiny(folder)))) == -signal.SIGKILL, point
            kills += 1
            steps = checkpoint.checkpoints(run/'checkpoints')
            assert max(steps) >= newest, f'{point}: step {newest} was there, now {max(steps)} is the newest'
            newest = max(steps)
            assert len([p for p in (run/'checkpoints').iterdir() if p.name.startswith('.')]) <= 1, 'temporary folders pile up'
        assert in_child(lambda: train(tiny(folder))) == 0
        assert found_by(folder, run) == want
        assert not [p for p in (run/'checkpoints').iterdir() if p.name.startswith('.')]
        shutil.rmtree(run)
    shutil.rmtree(folder)
    return dict(kills=kills)

# --- signals

class Blocked(Callback):
    "A step that no signal handler of Python can interrupt"
    def __init__(self, flag, heavy): self.flag, self.heavy = flag, heavy
    def after_step(self, run):
        if not self.heavy: save_of(run).cost = 0. # copy the state at each step, also on a machine that is busy
        if run.step == 3:
            self.flag.touch()
            end = time.monotonic() + 60
            while time.monotonic() < end: ctypes.CDLL(None).sleep(60) # a signal cuts one sleep short, and a real step goes on

def signalled(folder, signals, callbacks=(), grace=5.):
    "Start a training whose third step hangs, send the signals, and SIGKILL after the grace: (exit status, seconds from the first signal)"
    flag = folder/'blocked'
    flag.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1), os.dup2(null, 2)
        try: train(tiny(folder, save_steps=100), [Blocked(flag, bool(callbacks)), *callbacks])
        finally: os._exit(99)
    while not flag.exists():
        assert os.waitpid(pid, os.WNOHANG)[0] == 0, 'it ended before its third step'
        time.sleep(.01)
    start = time.monotonic()
    for s in signals: os.kill(pid, s)
    while (done := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() - start > grace: os.kill(pid, signal.SIGKILL)
        time.sleep(.005)
    return -os.WTERMSIG(done[1]) if os.WIFSIGNALED(done[1]) else os.WEXITSTATUS(done[1]), time.monotonic() - start

def bursts(n):
    "SIGTERM and SIGINT, several at once: one save, and the exit status of the first that is heard"
    folder, rng = place(), random.Random(0)
    for i in range(n):
        sent = [signal.SIGTERM, signal.SIGTERM, signal.SIGINT] if i == 0 else rng.choices([signal.SIGTERM, signal.SIGINT], k=rng.randint(2, 6))
        status, seconds = signalled(folder, sent)
        assert status in {128 + s for s in sent}, (status, sent)
        run = folder/'runs'/'x'
        told = [e['event'] for e in read_jsonl(run/'events.jsonl')]
        assert told.count('stopped') == told.count('saved') == 1, told
        found = list(checkpoint.checkpoints(run/'checkpoints'))
        assert found == [2], f'steps {found}; {told}' # the last boundary before the step that hangs
        checkpoint.verify(run/'checkpoints'/'step-00000002')
        shutil.rmtree(run)
    shutil.rmtree(folder)
    return dict(tried=n)

def large_state(n):
    "SIGTERM while a step hangs and 200 MB have to be saved; SIGKILL comes five seconds later"
    folder, slowest, real = place(), 0., models.load_recogniser
    def heavy(*args, **kw):
        rec = real(*args, **kw)
        rec.ballast = torch.nn.Parameter(torch.zeros(25_000_000)) # 100 MB, and as much again in the average
        return rec
    models.load_recogniser, callbacks.save_model = heavy, lambda rec, folder: folder.mkdir(exist_ok=True)
    class Slow(Callback): # a copy of a large state is taken as often as it costs 2 % of the time; here the second step was a slow one
        def after_step(self, run):
            if run.step == 2: save_of(run).copied = -math.inf
    for _ in range(n):
        status, seconds = signalled(folder, [signal.SIGTERM], [Slow()])
        assert status == 128 + signal.SIGTERM, f'{status} after {seconds:.1f} s'
        ckpt = folder/'runs'/'x'/'checkpoints'/'step-00000002'
        checkpoint.verify(ckpt)
        assert sum(p.stat().st_size for p in ckpt.iterdir()) > 200e6
        slowest = max(slowest, seconds)
        shutil.rmtree(folder/'runs')
    shutil.rmtree(folder)
    return dict(tried=n, slowest_s=round(slowest, 2))

# --- disks

def tmpfs(at, size):
    at.mkdir(exist_ok=True)
    subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', at], check=True)

def own_mounts():
    "From now on this process mounts for itself alone, as `unshare -m` has it; who is not root becomes root of a space of users of its own"
    uid, gid, libc = os.geteuid(), os.getegid(), ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x20000 | (0x10000000 if uid else 0)): raise OSError(ctypes.get_errno(), 'unshare')
    if uid:
        for file, text in (('uid_map', f'0 {uid} 1'), ('setgroups', 'deny'), ('gid_map', f'0 {gid} 1')): Path('/proc/self', file).write_text(text)
    subprocess.run(['mount', '--make-rprivate', '/'], check=True)

def umount(at): subprocess.run(['umount', '-l', at], check=True)

def free(at):
    s = os.statvfs(at)
    return s.f_bavail*s.f_frsize

def full_disks(n):
    "A real file system with room for less than one checkpoint, in `n` sizes: what is there stays, nothing temporary does, and with room again the saves go on"
    folder, lost = place(model=False), 0
    faults.SIZES = {'w': (100, 200), 'b': (30,)}
    for i in range(n):
        disk = folder/'disk'
        tmpfs(disk, '4m')
        root, told = disk/'checkpoints', []
        saver = checkpoint.Saver(root, 'run', log=lambda what, **facts: told.append(what))
        for step in [(5, 10), (5, 8, 9, 10)][i % 2]: saver.save_now(faults.snapshot(checkpoint, step))
        size = sum(p.stat().st_size for p in (root/'step-00000010').iterdir())
        (disk/'filler').write_bytes(bytes(max(0, free(disk) - int(1.3*size*i/max(1, n - 1)))))
        saver.save_now(faults.snapshot(checkpoint, 20))
        saved = saver.saved == 20
        assert saved or 'save_failed' in told
        lost += not saved
        found, bad = checkpoint.latest_valid(root, 'run')
        assert faults.is_step(checkpoint, found, 20 if saved else 10) and not bad
        assert not list(root.glob('.t*')), 'temporary folders are left'
        (disk/'filler').unlink()
        assert saver.save_now(faults.snapshot(checkpoint, 30)), 'with room again, it did not save'
        umount(disk)
    shutil.rmtree(folder)
    assert 0 < lost < n, 'the sizes were not those that matter'
    return dict(tried=n, not_saved=lost)

def training_on_full_disks(n):
    "A whole training on a disk that is too small, in `n` sizes: it ends well or with one clear error; with room again it goes on to the same end"
    folder, ended = place(), 0
    want = alone(folder)
    for i in range(n):
        disk = folder/'runs'
        shutil.rmtree(disk, ignore_errors=True)
        tmpfs(disk, f'{int(64 + 3200*i/max(1, n - 1))}k')
        status = in_child(lambda: train(tiny(folder)))
        assert status in (0, SetupError.exit_code), f'exit status {status} with room for {int(64 + 3200*i/max(1, n - 1))} kB'
        ended += status == 0
        subprocess.run(['mount', '-o', 'remount,size=16m', disk], check=True)
        assert in_child(lambda: train(tiny(folder))) == 0
        assert found_by(folder, disk/'x') == want
        umount(disk)
    shutil.rmtree(folder)
    return dict(tried=n, ended_well_at_once=ended)

def bad_disks_at_the_start(n):
    "No rights, read-only, a limit on files, a quota: one clear error within two seconds, before a model is loaded"
    folder, slowest = place(), 0.
    models.load_recogniser = lambda *a, **kw: os._exit(98) # it must not come to that
    def nobody(): (folder/"runs").mkdir(), (folder/"runs").chmod(0o555), os.geteuid() == 0 and (os.setgid(65534), os.setuid(65534))
    def read_only(): tmpfs(folder/'runs', '1m'), subprocess.run(['mount', '-o', 'remount,ro', folder/'runs'], check=True)
    def limited(): resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    for prepare in (nobody, read_only, limited):
        start = time.monotonic()
        assert in_child(lambda: (prepare(), train(tiny(folder)))) == SetupError.exit_code, prepare.__name__
        slowest = max(slowest, time.monotonic() - start)
        if prepare is read_only: umount(folder/'runs')
        assert not list((folder/'runs').iterdir()), prepare.__name__
    def says_so():
        try: train(tiny(folder))
        except SetupError as e: os._exit(e.exit_code)
    quota = 3 if not syscalls.STRACE else syscalls.watched(says_so, 'write:error=EDQUOT:when=1+')
    assert quota == SetupError.exit_code, quota
    shutil.rmtree(folder)
    assert slowest < 2
    return dict(tried=4 if syscalls.STRACE else 3, slowest_s=round(slowest, 2))

if __name__ == '__main__':
    torch.set_num_threads(1)
    import_ahead()
    if 'disk' in sys.argv[1]: own_mounts()
    print(json.dumps(globals()[sys.argv[1]](int(sys.argv[2]))))
