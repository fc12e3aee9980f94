"""Faults, injected: each function makes one kind of fault happen `n` times, asserts what has to hold, and returns how often it was tried.

They take the module under test as an argument, so that `test_planted.py` can hand them a module with a bug in it and see them fail.
"""
import errno, json, os, random, shutil, signal, tempfile, time, weakref
from contextlib import contextmanager
from pathlib import Path

import torch

from welllog_ocr.files import fsync

SIZES = {'w': (40, 10), 'b': (10,)}

def snapshot(m, step, cer=None):
    "A small state that is different at every step"
    g = torch.Generator().manual_seed(step)
    tensors = lambda: {k: torch.randn(s, generator=g) for k, s in SIZES.items()}
    return m.Snapshot(step, tensors(), {**tensors(), 'rng.torch': torch.get_rng_state()[:64]}, dict(seen=16*step, callbacks=dict(StopEarly=dict(bad=step % 3))), dict(cer=cer))

def is_step(m, found, step): return found is not None and found.step == step and m.state_digest(found) == m.state_digest(snapshot(m, step))

def silent_exit(work):
    "Run `work` in a child process; its exit status, negative for a signal"
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            work()
            os._exit(0)
        except BaseException:
            os._exit(99)
    _, status = os.waitpid(pid, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

class Disk:
    "The file operations of a checkpoint: a test counts them, writes them down, makes one fail or the last of its process"
    def mkdir(self, path): os.mkdir(path)
    def write(self, path, data):
        with open(path, 'xb') as f: f.write(data)
    def fsync(self, path): fsync(path)
    def sync_dir(self, path): fsync(path)
    def rename(self, old, new): os.rename(old, new)
    def unlink(self, path): os.unlink(path)
    def rmdir(self, path): os.rmdir(path)

OPS = ('mkdir', 'write', 'fsync', 'sync_dir', 'rename', 'unlink', 'rmdir')

class _Os:
    "`os`, as a module sees it whose file operations are those of `disk`"
    def __init__(self, disk): self.mkdir, self.rename, self.unlink, self.rmdir = disk.mkdir, disk.rename, disk.unlink, disk.rmdir
    def __getattr__(self, name): return getattr(os, name)

@contextmanager
def on(m, disk):
    "Within the context, every file operation of the module `m` is one of `disk`"
    kept = m.os, m._write, m.fsync
    m.os, m._write, m.fsync = _Os(disk), disk.write, lambda path: (disk.sync_dir if Path(path).is_dir() else disk.fsync)(path)
    try: yield
    finally: m.os, m._write, m.fsync = kept

def counting_disk(act, half=False):
    "A disk that calls `act(k, name)` before its k-th operation; with `half`, a write is begun first"
    class Counting(Disk):
        k = 0
    def wrap(name):
        real = getattr(Disk, name)
        def op(self, *args):
            self.k += 1
            if half and name == 'write': args[0].write_bytes(args[1][:len(args[1])//2])
            act(self.k, name)
            if half and name == 'write': args[0].unlink()
            return real(self, *args)
        setattr(Counting, name, op)
    for name in OPS: wrap(name)
    return Counting()

def temporary(): return Path(tempfile.mkdtemp(prefix='faults-'))

# --- death of the process

def kill_at_every_operation(m, n=None):
    "SIGKILL at each operation of save and prune: the newest whole checkpoint is the old or the new one, and the next start tidies up"
    def work(root, at, half):
        with on(m, counting_disk(lambda k, name: os.kill(os.getpid(), signal.SIGKILL) if k == at else None, half)):
            m.save(root, snapshot(m, 30), 'run')
            m.prune(root, 'run', recent=2)
    tried = 0
    for half in (False, True):
        at = 0
        while True:
            at += 1
            root = temporary()
            for step in (5, 10, 20): m.save(root, snapshot(m, step), 'run')
            status = silent_exit(lambda: work(root, at, half))
            found, bad = m.latest_valid(root, 'run')
            assert is_step(m, found, 20) or is_step(m, found, 30), (at, half)
            assert not bad, bad
            for folder in m.checkpoints(root).values(): m.verify(folder, 'run') # nothing half-deleted looks whole
            m.sweep(root)
            assert not list(root.glob('.t*')), 'temporary folders are left'
            assert is_step(m, m.load(m.save(root, snapshot(m, 40), 'run')), 40)
            shutil.rmtree(root)
            if status == 0: break
            assert status == -signal.SIGKILL, status
            tried += 1
    return tried

# --- loss of power: what was not forced to disk may be missing, cut or zeroed

def recording_disk():
    "A disk that does the operations for real, and writes down their order in `log`"
    class Recording(Disk): pass
    def wrap(name):
        real = getattr(Disk, name)
        def op(self, *args):
            real(self, *args)
            self.log.append((name, *args))
        setattr(Recording, name, op)
    for name in OPS: wrap(name)
    disk = Recording()
    disk.log = []
    return disk

def crash_state(log, root, target, rng):
    "What may be on the disk after `log`, laid out in `target`: effects that no fsync reached happen or do not, contents are whole, cut, zeroed or empty"
    safe_content, safe_entry = set(), set()
    for i, (op, *args) in enumerate(log):
        if op == 'fsync': safe_content |= {j for j in range(i) if log[j][0] == 'write' and log[j][1] == args[0]}
        if op == 'sync_dir': safe_entry |= {j for j in range(i) if log[j][0] in ('mkdir', 'write', 'rename', 'unlink', 'rmdir') and Path(log[j][1]).parent == args[0]}
    p_keep = rng.random()
    files, dirs, moved = {}, {root}, {} # path -> content; `moved`: where later operations find a folder now
    def now(p): # a folder that was renamed on the disk or not
        for old, new in moved.items():
            if p == old or old in p.parents: return new/p.relative_to(old)
        return p
    for i, (op, *args) in enumerate(log):
        if op in ('fsync', 'sync_dir'): continue
        happens = i in safe_entry or rng.random() < p_keep
        path = args[0]
        if op == 'rename':
            if happens and path in dirs:
                new = args[1]
                files = {(new/p.relative_to(path) if path in p.parents else p): c for p, c in files.items()}
                dirs = {new if d == path else d for d in dirs}
            continue
        if not happens or path.parent not in dirs: continue
        if op == 'mkdir': dirs.add(path)
        elif op == 'rmdir':
            if not any(path in p.parents for p in files): dirs.discard(path)
        elif op == 'unlink': files.pop(path, None)
        elif op == 'write':
            data = args[1]
            if i not in safe_content: data = rng.choice([data, data[:rng.randrange(len(data) + 1)], bytes(len(data)), b''])
            files[path] = data
    for d in dirs - {root}: (target/d.relative_to(root)).mkdir(parents=True, exist_ok=True)
    for p, data in files.items(): (target/p.relative_to(root)).write_bytes(data)

def power_loss(m, n=500, seed=0):
    "Power loss at any operation of a few saves and deletions: what was acknowledged is found, and nothing half-written is taken for whole"
    rng, root = random.Random(seed), temporary()
    disk, acknowledged = recording_disk(), [] # (operations so far, step)
    for step in (10, 20, 30, 40, 50):
        with on(m, disk):
            m.save(root, snapshot(m, step, step/100), 'run')
            acknowledged.append((len(disk.log), step))
            m.prune(root, 'run', recent=2)
    for _ in range(n):
        k, target = rng.randint(0, len(disk.log)), temporary()
        crash_state(disk.log[:k], root, target, rng)
        safe = max((s for done, s in acknowledged if done <= k), default=0)
        before = {s: p for s, p in m.checkpoints(target).items()}
        try: found, bad = m.latest_valid(target, 'run')
        except m.CheckpointError as e: raise AssertionError(f'after {k} operations, step {safe} acknowledged, {before}: {e}') from e
        assert (found.step if found else 0) >= safe, (k, safe, found and found.step)
        assert found is None or is_step(m, found, found.step)
        m.sweep(target)
        shutil.rmtree(target)
    shutil.rmtree(root)
    return n

# --- damaged files

def _two(m):
    root = temporary()
    for step in (10, 20): m.save(root, snapshot(m, step), 'run')
    return root

def _falls_back(m, root, what):
    found, bad = m.latest_valid(root, 'run')
    assert is_step(m, found, 10), f'{what}: step {found and found.step} was taken'
    assert len(bad) == 1 and list((root/'quarantine').glob('step-00000020-*/*')), what
    shutil.rmtree(root)

def _fresh(m, kept={}):
    "A copy of a folder with two checkpoints"
    key = id(m)
    if key not in kept: kept[key] = _two(m)
    root = temporary()
    shutil.copytree(kept[key], root, dirs_exist_ok=True)
    return root

def _spoiled(m, n, seed, spoil):
    "`spoil` does its damage to a random file of the newest of two checkpoints, and says what it did: the older one is found, and the damaged one set aside"
    rng = random.Random(seed)
    for _ in range(n):
        root = _fresh(m)
        _falls_back(m, root, spoil(rng, rng.choice(sorted((root/'step-00000020').iterdir()))))
    return n

def bit_flips(m, n=100, seed=0):
    "One random bit of any file, the manifest too"
    def flip(rng, path):
        data = bytearray(path.read_bytes())
        bit = rng.randrange(8*len(data))
        data[bit//8] ^= 1 << bit % 8
        path.write_bytes(data)
        return f'bit {bit} of {path.name}'
    return _spoiled(m, n, seed, flip)

def truncations(m, n=60, seed=0):
    "A file that ends early, by a byte or by all of them"
    def cut(rng, path):
        data = path.read_bytes()
        path.write_bytes(data[:rng.choice([0, 1, 7, 8, 9, len(data) - 1, rng.randrange(len(data))])])
        return f'{path.name} cut'
    return _spoiled(m, n, seed, cut)

def swaps(m, n=20, seed=0):
    "A file of another checkpoint, zeros, or nothing in its place"
    def swap(rng, path):
        how = rng.choice(['swap', 'zero', 'missing'])
        if how == 'swap' and path.name != 'manifest.json': path.write_bytes((path.parents[1]/'step-00000010'/path.name).read_bytes())
        elif how == 'missing': path.unlink()
        else: path.write_bytes(bytes(path.stat().st_size))
        return f'{path.name} {how}'
    return _spoiled(m, n, seed, swap)

def bad_manifests(m, n=100, seed=0):
    "Manifests that are not what they should be: no crash, and never believed"
    rng, odd = random.Random(seed), [None, 0, -1, 1e308, 'x', [], {}, {'size': 1}, '../../etc/passwd', True]
    for _ in range(n):
        root = _fresh(m)
        path = root/'step-00000020'/'manifest.json'
        found = json.loads(path.read_text())
        how = rng.randrange(6)
        if how == 0: text = json.dumps({**found, rng.choice(sorted(found)): rng.choice(odd)})
        elif how == 1: text = json.dumps({k: v for k, v in found.items() if k != rng.choice(sorted(found))} | {'extra': 1})
        elif how == 2: text = rng.choice(['', '{', '[]', 'null', '"x"', '[' * 100000, '\x00'*50, '{"format": 1}'])
        elif how == 3: text = json.dumps({**found, 'files': {'../model.safetensors': found['files']['state.json']}})
        elif how == 4: text = json.dumps(found) # the same facts, written in another way
        else: text = m._canonical({**found, 'facts': dict(cer=rng.random())}).decode() # well written, but not what was written
        path.write_text(text)
        _falls_back(m, root, text[:80])
    return n

# --- trouble with the disk

def distrustful(disk):
    "The disk, which does not allow to commit a folder after an fsync in it has failed: what it did not force to disk may be gone for good"
    lost, fsync, rename = set(), disk.fsync, disk.rename
    def watch(path):
        try: fsync(path)
        except OSError: lost.add(path.parent); raise
    def commit(old, new):
        assert old not in lost, f'{old.name} is committed although an fsync in it failed'
        rename(old, new)
    disk.fsync, disk.rename = watch, commit
    return disk

def disk_trouble(m, n=2):
    "Each operation of a save fails with each of `n` errors, once, twice or for ever: nothing valid is lost, nothing temporary is left, what failed to reach the disk is never committed, and the saver goes on"
    tried = 0
    for code in (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOTCONN, errno.ESTALE)[:n]:
        for how in ('once', 'twice', 'from then on', 'that kind always'):
            at = 0
            while True:
                at += 1
                root, told, hit, kind = temporary(), [], [], []
                for step in (5, 10): m.save(root, snapshot(m, step), 'run')
                def act(k, name):
                    if name in ('mkdir', 'write', 'fsync', 'sync_dir', 'rename') and (k == at or (how == 'twice' and k == at + 7) or (how == 'from then on' and k > at) or (how == 'that kind always' and name in kind)):
                        hit.append(k), kind.append(name)
                        raise OSError(code, os.strerror(code))
                saver = m.Saver(root, 'run', log=lambda what, **facts: told.append(what))
                with on(m, distrustful(counting_disk(act, half=True))): path = saver.save_now(snapshot(m, 20))
                found, bad = m.latest_valid(root, 'run')
                if hit: assert 'save_failed' in told or 'prune_failed' in told or path, (code, at)
                if path is not None: assert is_step(m, found, 20)
                else: assert is_step(m, found, 10) or is_step(m, found, 20), 'a valid checkpoint was lost'
                assert not bad and not [p for p in root.iterdir() if p.name.startswith('.tmp')], (code, at, how)
                assert saver.save_now(snapshot(m, 30)), 'the saver did not go on'
                shutil.rmtree(root)
                if not hit: break
                tried += 1
    return tried

# --- which ones stay

def retention(m, n=100, seed=0):
    "Random metrics against a plain oracle: newest, best and first stay, foreign and pinned ones too, and no more than the rules want"
    rng = random.Random(seed)
    for _ in range(n):
        values = {s: rng.choice([None, float('nan'), float('inf'), round(rng.random(), 1)]) for s in rng.sample(range(1, 99), rng.randint(1, 12))}
        recent, best, pinned = rng.randint(2, 4), rng.randint(1, 3), set(rng.sample(range(1, 99), 2))
        keep = m.to_keep(values, recent, best, pinned)
        steps = sorted(values)
        assert keep <= set(steps) and steps[-1] in keep and steps[0] in keep and pinned & set(steps) <= keep
        assert set(steps[-2:]) <= keep
        scored = [s for s in steps if values[s] is not None and values[s] == values[s]]
        if scored: assert min(scored, key=lambda s: (values[s], s)) in keep
        assert len(keep) <= recent + best + 1 + len(pinned)
    return n

def races(m, n=20):
    "Two processes want one run folder at the same moment: one gets it"
    for _ in range(n):
        folder, (read, write), (go, start), (until, done) = temporary(), os.pipe(), os.pipe(), os.pipe()
        pids = []
        for _ in range(2):
            pid = os.fork()
            if pid == 0:
                os.read(go, 1)
                try:
                    with m.own(folder):
                        os.write(write, b'o')
                        os.read(until, 1) # hold it until told
                except m.SetupError: os.write(write, b'x')
                os._exit(0)
            pids.append(pid)
        os.write(start, b'12')
        got = os.read(read, 1) + os.read(read, 1)
        os.write(done, b'33')
        for pid in pids: os.waitpid(pid, 0)
        assert sorted(got) == sorted(b'ox'), got
        for fd in (read, write, go, start, until, done): os.close(fd)
        with m.own(folder): pass # free again
        shutil.rmtree(folder)
    return n

def stale_locks(m, n=10, seed=0):
    "The owner was on another machine: one that is silent is taken over and told, one that is alive is not"
    rng = random.Random(seed)
    for _ in range(n):
        folder, told = temporary(), []
        leave = lambda age: (folder/'lock').write_text(json.dumps(dict(pid=rng.randrange(1, 9999), host=f'pod-{rng.randrange(99)}', boot='x', beat=time.time() - age)).ljust(200))
        leave(rng.uniform(0, .9)*m.STALE)
        try:
            with m.own(folder, log=lambda *a, **facts: told.append(facts)): raise AssertionError('taken from a living owner')
        except m.SetupError as e: assert 'is training there' in str(e)
        assert not told
        leave(m.STALE*rng.choice([1.1, 10, 1e6, -1e6])) # a clock may be years ahead
        with m.own(folder, log=lambda *a, **facts: told.append(facts)): pass
        assert len(told) == 1 and 'pod-' in told[0]['owner']
        with m.own(folder): pass # it is ours now
        shutil.rmtree(folder)
    return n

# --- what others put there

def strangers(m, n=10, seed=0):
    "Files and links that look like pointers or checkpoints: without effect, and left alone"
    rng = random.Random(seed)
    plants = [lambda p: (p/'latest').write_text('step-00000010'), lambda p: (p/'latest').symlink_to('latest'), lambda p: (p/'latest.json').write_bytes(bytes(99)), lambda p: (p/'step-00000099').symlink_to('step-00000099'),
              lambda p: (p/'step-00000098').write_text('a file'), lambda p: (p/'step-00000097').symlink_to(p/'step-00000010'), lambda p: (p/'step-x').mkdir(), lambda p: (p/'checkpoint-500').mkdir(),
              lambda p: (p/'step-00000096').symlink_to('nowhere'), lambda p: os.mkfifo(p/'step-00000095')]
    for _ in range(n):
        root = _fresh(m)
        for plant in rng.sample(plants, rng.randint(1, 6)):
            try: plant(root)
            except OSError: pass # that name is taken
        before = sorted(p.name for p in root.iterdir())
        found, bad = m.latest_valid(root, 'run')
        assert is_step(m, found, 20) and not bad
        m.sweep(root), m.prune(root, 'run', recent=2)
        assert sorted(p.name for p in root.iterdir()) == before
        shutil.rmtree(root)
    return n

def links(m, n=5):
    "Links in place of the folder of checkpoints, a checkpoint, a file of it, the quarantine, what is swept: nothing beyond them is touched"
    def whole(p): return sorted((str(q.relative_to(p)), q.read_bytes() if q.is_file() else None) for q in p.rglob('*'))
    def run(act):
        try: act()
        except (m.SetupError, m.CheckpointError): pass
    tried = 0
    for i in range(n):
        for what in ('checkpoints', 'step-00000020', 'step-00000030', 'quarantine', '.tmp-00000030-1-abc', '.trash-step-00000010-abc', 'step-00000020/model.safetensors', 'step-00000020/manifest.json', 'step-00000010/more'):
            run_folder, canary = temporary(), _fresh(m)
            (canary/'.tmp-00000001-1-abc').mkdir(), (canary/'alive').write_text('x'), (canary/'step-00000010'/'manifest.json').write_text('{}')
            root, before = run_folder/'checkpoints', whole(canary)
            if what != 'checkpoints':
                shutil.copytree(_fresh(m), root)
                if i % 2: (root/'step-00000010'/'model.safetensors').write_bytes(b'') # something to set aside
            place = run_folder/what if what == 'checkpoints' else root/what
            if place.is_dir(): shutil.rmtree(place)
            place.unlink(missing_ok=True)
            place.symlink_to(canary/'step-00000020'/'model.safetensors' if place.suffix == '.safetensors' else canary/'step-00000020' if what.startswith('.') else canary)
            run(lambda: m.sweep(root)), run(lambda: m.latest_valid(root, 'run'))
            saver = []
            run(lambda: saver.append(m.Saver(root, 'run', recent=2)))
            for s in saver:
                for step in (20, 30, 40, 50): s.save_now(snapshot(m, step))
            run(lambda: m.prune(root, 'run', recent=2)), run(lambda: m.sweep(root))
            assert whole(canary) == before, what
            tried += 1
    return tried

def slow_disk(m, n=3):
    "Saves are asked for faster than the disk takes them: one is under way, none waits in a queue, and the skipped ones are told"
    class Slow(Disk):
        def fsync(self, path): time.sleep(.02)
    for i in range(n):
        root, told, alive = temporary(), [], []
        with on(m, Slow()):
            saver = m.Saver(root, 'run', log=lambda what, **facts: told.append(what))
            for step in range(1, 21):
                s = snapshot(m, step)
                alive.append(weakref.ref(s))
                saver.submit(s)
                del s
                assert sum(r() is not None for r in alive) <= 2, 'snapshots pile up'
                time.sleep(.005*(1 + i % 3))
            assert saver.submit(snapshot(m, 21), wait=True) and is_step(m, m.latest_valid(root, 'run')[0], 21)
        assert told.count('save_skipped') >= 5 and told.count('saved') + told.count('save_skipped') == 21, told
        shutil.rmtree(root)
    return n

def lost_best(m, n=10, seed=0):
    "The best checkpoint is deleted or damaged: the next best is kept from then on"
    rng = random.Random(seed)
    for i in range(n):
        root = temporary()
        saver = m.Saver(root, 'run', recent=2)
        values = dict(zip((10, 20, 30, 40, 50, 60), rng.sample([.1, .2, .3, .4, .5, .6], 6)))
        for step, cer in values.items(): saver.save_now(snapshot(m, step, cer))
        best = min(values, key=values.get)
        assert best in m.checkpoints(root)
        if i % 2: shutil.rmtree(m.step_folder(root, best))
        else: m.set_aside(root, m.step_folder(root, best), 'damaged')
        left = {s: values[s] for s in m.checkpoints(root)}
        for step, cer in ((70, .9), (80, .8), (90, .7)): saver.save_now(snapshot(m, step, cer))
        assert min(left, key=left.get) in m.checkpoints(root), (values, best)
        shutil.rmtree(root)
    return n
