"""Faults, injected: each function makes one kind of fault happen `n` times, asserts what has to hold, and returns how often it was tried.

They take the module under test as an argument, so that `test_planted.py` can hand them a module with a bug in it and see them fail.
"""
import errno, json, os, random, shutil, signal, sys, tempfile
from pathlib import Path

import torch

SIZES = {'w': (40, 10), 'b': (10,)}

def snapshot(m, step, cer=None):
    "A small state that is different at every step"
    g = torch.Generator().manual_seed(step)
    tensors = lambda: {k: torch.randn(s, generator=g) for k, s in SIZES.items()}
    return m.Snapshot(step, tensors(), {**tensors(), 'rng.torch': torch.get_rng_state()[:64]}, dict(seen=16*step, guests=dict(StopEarly=dict(bad=step % 3))), dict(cer=cer))

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

OPS = ('mkdir', 'write', 'fsync', 'sync_dir', 'rename', 'unlink', 'rmdir')

def counting_disk(m, act, half=False):
    "A disk that calls `act(k, name)` before its k-th operation; with `half`, a write is begun first"
    class Counting(m.Disk):
        k = 0
    def wrap(name):
        real = getattr(m.Disk, name)
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
        disk = counting_disk(m, lambda k, name: os.kill(os.getpid(), signal.SIGKILL) if k == at else None, half)
        m.save(root, snapshot(m, 30), 'run', disk)
        m.prune(root, 'run', recent=2, disk=disk)
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

class Recorder:
    "Does the operations for real, and writes down their order"
    def __new__(cls, m):
        class Recording(m.Disk): log = []
        def wrap(name):
            real = getattr(m.Disk, name)
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
    disk, acknowledged = Recorder(m), [] # (operations so far, step)
    for step in (10, 20, 30, 40, 50):
        m.save(root, snapshot(m, step, step/100), 'run', disk)
        acknowledged.append((len(disk.log), step))
        m.prune(root, 'run', recent=2, disk=disk)
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

def bit_flips(m, n=100, seed=0):
    "One random bit of any file, the manifest too"
    rng = random.Random(seed)
    for _ in range(n):
        root = _fresh(m)
        path = rng.choice(sorted((root/'step-00000020').iterdir()))
        data = bytearray(path.read_bytes())
        bit = rng.randrange(8*len(data))
        data[bit//8] ^= 1 << bit % 8
        path.write_bytes(data)
        _falls_back(m, root, f'bit {bit} of {path.name}')
    return n

def truncations(m, n=60, seed=0):
    rng = random.Random(seed)
    for _ in range(n):
        root = _fresh(m)
        path = rng.choice(sorted((root/'step-00000020').iterdir()))
        data = path.read_bytes()
        path.write_bytes(data[:rng.choice([0, 1, 7, 8, 9, len(data) - 1, rng.randrange(len(data))])])
        _falls_back(m, root, f'{path.name} cut')
    return n

def swaps(m, n=20, seed=0):
    "A file of another checkpoint, zeros, or nothing in its place"
    rng = random.Random(seed)
    for _ in range(n):
        root = _fresh(m)
        path = rng.choice(sorted((root/'step-00000020').iterdir()))
        how = rng.choice(['swap', 'zero', 'missing'])
        if how == 'swap' and path.name != 'manifest.json': path.write_bytes((root/'step-00000010'/path.name).read_bytes())
        elif how == 'missing': path.unlink()
        else: path.write_bytes(bytes(path.stat().st_size))
        _falls_back(m, root, f'{path.name} {how}')
    return n

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

def disk_trouble(m, n=None):
    "Each operation of a save fails with each error, once or for ever: nothing valid is lost, nothing temporary is left, and the saver goes on"
    tried = 0
    for code in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS):
        for how in ('once', 'from then on', 'that kind always'):
            at = 0
            while True:
                at += 1
                root, told, hit, kind = temporary(), [], [], []
                for step in (5, 10): m.save(root, snapshot(m, step), 'run')
                def act(k, name):
                    if name in ('mkdir', 'write', 'fsync', 'sync_dir', 'rename') and (k == at or (how == 'from then on' and k > at) or (how == 'that kind always' and name in kind)):
                        hit.append(k), kind.append(name)
                        raise OSError(code, os.strerror(code))
                saver = m.Saver(root, 'run', tell=lambda what, **facts: told.append(what), disk=counting_disk(m, act, half=True))
                path = saver.save_now(snapshot(m, 20))
                found, bad = m.latest_valid(root, 'run')
                if hit: assert 'save_failed' in told or 'prune_failed' in told or path, (code, at)
                if path is not None: assert is_step(m, found, 20)
                else: assert is_step(m, found, 10) or is_step(m, found, 20), 'a valid checkpoint was lost'
                assert not bad and not [p for p in root.iterdir() if p.name.startswith('.tmp')], (code, at, how)
                saver.disk = m.DISK
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
