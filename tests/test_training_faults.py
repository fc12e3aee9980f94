"""Trainings under fire: killed, stopped, short of memory, with numbers that are none, with workers that die. CI runs a share; `pytest -m soak` the full figures."""
import ctypes, json, math, multiprocessing, os, random, shutil, signal, time
from dataclasses import replace

import numpy as np
import forked
import pytest
import torch
from conftest import share
from runs import ALL, events, outcome, tiny

import welllog_ocr.train as training
from welllog_ocr.run.checkpoint import CheckpointError, checkpoints, load, rng_state, set_rng_state, state_digest
from welllog_ocr.core import DataError, SetupError, run_command
from welllog_ocr.files import read_jsonl, write_jsonl
from welllog_ocr.run.samples import run_data
from welllog_ocr.run.callbacks import Callback, Save, Spikes, _is_model
from welllog_ocr.models.ctc import HEADER_CHARACTERS, tiny_ctc
from welllog_ocr.run.state import capture, restore
from welllog_ocr.run.step import Run
from welllog_ocr.train import Diverged, fit, train

class At(Callback):
    "Does something after one step"
    def __init__(self, step, act): self.step, self.act = step, act
    def after_step(self, run):
        if run.step == self.step: self.act(run)

@pytest.fixture(scope='module')
def alone(place):
    "A run that nobody disturbed"
    return train(tiny(place, experiment_name='alone'))

@pytest.fixture(scope='module')
def begun(place):
    with pytest.raises(RuntimeError): train(tiny(place), [At(9, gone)])
    return place/'runs'/'x'

def gone(run): raise RuntimeError('gone')

@pytest.fixture
def cut(begun, place, tmp_path):
    "Config of a run that crashed at step 9, in a folder of the test's own"
    shutil.copytree(begun, tmp_path/'runs'/'x')
    return tiny(tmp_path, model_name=str(place/'model'))

# --- death of the process

@share(4, 200)
def test_random_kills(n, reliability):
    got = forked.run('runs', n)
    assert got.returncode == 0, got.stderr[-3000:]
    found = json.loads(got.stdout.splitlines()[-1])
    assert found['kills'] >= n and found['bit_equal'] == found['runs']
    reliability('SIGKILL at a random time of a training, resumed until done', found['kills'], found['kills'], f'{found["bit_equal"]} of {found["runs"]} runs')

class Blocked(Callback):
    "A step that no signal handler of Python can interrupt"
    def __init__(self, flag): self.flag = flag
    def after_step(self, run):
        next(g for g in run.callbacks if isinstance(g, Save)).cost = 0. # copy the state at each step, also on a machine that is busy
        if run.step == 3:
            self.flag.touch()
            while True: ctypes.CDLL(None).sleep(60) # a signal cuts one sleep short, and a real step goes on

def blocked(home): run_command(lambda: train(tiny(home, save_steps=100), [Blocked(home/'blocked')]))

@share(1, 5) # more of it, and bursts, in test_scenes.py
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_signals_while_a_step_blocks(home, n, number, reliability):
    for i in range(n):
        shutil.rmtree(home/'runs', ignore_errors=True), (home/'blocked').unlink(missing_ok=True)
        p = multiprocessing.get_context('fork').Process(target=blocked, args=[home])
        p.start()
        while not (home/'blocked').exists():
            assert p.is_alive(), p.exitcode
            time.sleep(.01)
        for _ in range(1 + i % 3): os.kill(p.pid, number) # once or in a burst
        p.join(30)
        assert p.exitcode == 128 + number
        assert list(checkpoints(home/'runs'/'x'/'checkpoints')) == [2] # the last boundary before the step that blocks
        assert load(home/'runs'/'x'/'checkpoints'/'step-00000002').step == 2
    reliability(f'{number.name} while a step blocks: exit {128 + number} with a whole checkpoint', n, n, 'the last boundary')

def test_an_interrupted_cell_returns_and_the_next_goes_on(home, alone):
    def interrupt(run): raise KeyboardInterrupt
    before = signal.getsignal(signal.SIGTERM)
    cfg = tiny(home, save_steps=100)
    folder = train(cfg, [At(5, interrupt)])
    assert 1 <= events(folder, 'stopped')[0]['saved'] <= 4 # the callbacks of step 5 were not done
    assert signal.getsignal(signal.SIGTERM) == before
    train(cfg, [At(0, None)])
    a, b = outcome(folder), outcome(alone)
    assert a['metrics'] == b['metrics'] and a['files'] == b['files']
    train(tiny(home, experiment_name='with', save_steps=100), [At(0, None)]) # the names of the callbacks are in the state
    assert a['state'] == outcome(home/'runs'/'with')['state']

def interrupted(run): raise KeyboardInterrupt

@pytest.mark.parametrize('changes', [dict(l2_sp=30., ema_decay=0., freeze='encoder.convolution'), dict(distill=2., warmup_steps=99), dict(l2_sp=100., preflight=True)], ids=lambda c: ' '.join(c))
def test_what_remembers_the_untouched_model_resumes_bit_equal(home, alone, changes):
    "Start of `l2_sp` and untouched model of `distill` are in no checkpoint: a process that goes on finds them again"
    want = outcome(train(tiny(home, experiment_name='alone', **changes)))
    free = alone if 'freeze' not in changes else train(tiny(home, experiment_name='free', **{**changes, 'l2_sp': 0., 'distill': 0.}))
    assert want['state'] != outcome(free)['state']
    train(tiny(home, **changes), [At(5, interrupted)])
    train(tiny(home, **changes), [At(11, interrupted)])
    got = outcome(train(tiny(home, **changes)))
    assert len(events(home/'runs'/'x', 'resumed')) == 2
    assert {**got, 'kept': 0} == {**want, 'kept': 0}

def test_the_model_that_l2_sp_pulls_to_has_to_be_the_one_of_the_run(home):
    train(tiny(home, l2_sp=100.), [At(5, interrupted)])
    tiny_ctc(HEADER_CHARACTERS, seed=1).save_pretrained(home/'model')
    with pytest.raises(CheckpointError, match='l2_sp pulls to.*is not the model it was'): train(tiny(home, l2_sp=100.))

def test_the_order_of_the_list_of_callbacks_changes_nothing(home):
    class Shuffle(Callback):
        def before_run(self, run): random.Random(1).shuffle(run.callbacks)
    a, b = (outcome(train(tiny(home, experiment_name=name), [one])) for name, one in (('shuffled', Shuffle()), ('plain', Callback())))
    for found in (a, b): del found['state'] # holds the name of the class
    assert a == b

def test_the_same_crash_three_times_is_the_end(home):
    def crash(run): raise ValueError('a bug')
    for _ in range(3):
        with pytest.raises(ValueError): train(tiny(home), [At(7, crash)])
    with pytest.raises(SetupError, match='three times'): train(tiny(home), [At(7, crash)])
    assert len(events(home/'runs'/'x', 'start')) == 3

# --- resume

def runner(home, accumulate, total=24, **changes):
    "A run that is planned for 24 steps, and takes `total` of them"
    c = tiny(home, gradient_accumulation_steps=accumulate, per_device_train_batch_size=4//accumulate, max_steps=24, synth_lines=32, **changes)
    c.run_dir.mkdir(parents=True, exist_ok=True)
    rec = tiny_ctc(ALL)
    run = Run(c, rec, run_data(c, rec), [Order()])
    run.total = total
    return run

class Order(Callback):
    "Keeps the state after each step, and which samples it saw"
    def __init__(self): self.states, self.ids, self.losses = {}, {}, {}
    def after_step(self, run):
        samples, plan = run.batches(run.epoch)
        self.ids[run.step], self.losses[run.step] = [samples[i].id for i in plan[run.at - 1]], run.loss
        self.states[run.step] = capture(run)

@pytest.mark.parametrize('full', [False, pytest.param(True, marks=pytest.mark.soak)])
def test_resume_grid(home, full, reliability):
    "Resume at every step of three epochs, for each accumulation and number of workers"
    cells = 0
    for accumulate in (1, 2, 4):
        whole = runner(home, accumulate)
        fit(whole)
        want = whole.callbacks[0]
        for workers in (0, 1, 2):
            steps = range(1, 24) if full else [(5*accumulate + 7*workers) % 23 + 1]
            for step in steps:
                run = runner(home, accumulate, dataloader_num_workers=workers)
                torch.manual_seed(99), random.seed(99), np.random.seed(99)
                restore(run, want.states[step])
                run.total = min(24, step + 4)
                fit(run)
                got = run.callbacks[0]
                later = range(step + 1, run.total + 1)
                assert [got.ids[s] for s in later] == [want.ids[s] for s in later]
                assert [got.losses[s] for s in later] == [want.losses[s] for s in later]
                a, b = (replace(s, state={**s.state, 'total': 0}) for s in (got.states[run.total], want.states[run.total]))
                assert state_digest(a) == state_digest(b), (accumulate, workers, step)
                cells += 1
    reliability('resume at every step, accumulation 1, 2, 4, workers 0, 1, 2', cells, cells, 'yes')

@share(20, 200)
def test_generators_are_whole(n, reliability):
    for seed in range(n):
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        draw = lambda: (random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(3).tolist(), torch.randn(1).item())
        for _ in range(seed % 7): draw()
        numbers, tensors = rng_state()
        numbers, want = json.loads(json.dumps(numbers)), [draw() for _ in range(3)]
        set_rng_state(numbers, tensors)
        assert [draw() for _ in range(3)] == want
        for part in (dict(numbers, python=None), dict(numbers, numpy=None)):
            with pytest.raises(CheckpointError, match='random generator'): set_rng_state({k: v for k, v in part.items() if v is not None}, tensors)
        with pytest.raises(CheckpointError, match='random generator'): set_rng_state(numbers, {})
    reliability('random generators of python, numpy and torch', n, n, 'yes')

def test_a_run_folder_may_be_moved(cut, alone, tmp_path):
    cut.run_dir.rename(tmp_path/'y')
    train(cut.replace(output_dir=str(tmp_path), experiment_name='y'))
    assert outcome(tmp_path/'y')['state'] == outcome(alone)['state']

def test_all_checkpoints_bad_is_never_a_silent_restart(home):
    train(tiny(home))
    for folder in checkpoints(home/'runs'/'x'/'checkpoints').values(): (folder/'model.safetensors').write_bytes(b'')
    for _ in range(2):
        with pytest.raises(CheckpointError, match='no checkpoint can be used'): train(tiny(home, max_steps=20))
    got = forked.run('welllog_ocr.train', '--config', home/'runs'/'x'/'config.json')
    assert got.returncode == 5 and 'Traceback' not in got.stderr

@pytest.mark.parametrize('harm', ['deleted', 'cut', 'a link'])
def test_a_best_model_that_is_lost_is_replaced_by_the_next(home, harm):
    def do(run):
        best = run.folder/'best'
        if harm == 'cut': return os.truncate(best/'model.safetensors', 1000)
        shutil.rmtree(best)
        if harm == 'a link': (home/'canary').mkdir(), (home/'canary'/'x').touch(), best.symlink_to(home/'canary')
    folder = train(tiny(home), [At(9, do)])
    lost, = events(folder, 'best_lost')
    assert lost['step'] == 16 and events(folder, 'best')[-1]['step'] == 16 # the only one that was evaluated after it
    assert _is_model(folder/'best') and not (folder/'best').is_symlink() and events(folder, 'end')[0]['best_step'] == 16
    if harm == 'a link': assert [p.name for p in (home/'canary').iterdir()] == ['x']

def test_deleted_checkpoints_are_never_a_silent_restart(cut):
    rows = (cut.run_dir/'metrics.jsonl').read_bytes()
    shutil.rmtree(cut.run_dir/'checkpoints')
    with pytest.raises(CheckpointError, match='deleted or moved'): train(cut)
    assert (cut.run_dir/'metrics.jsonl').read_bytes() == rows

def test_the_command_of_a_fork_goes_on_with_the_fork(home, alone):
    fork = tiny(home, experiment_name='fork', max_steps=24, resume_from_checkpoint=str(alone/'checkpoints'/'step-00000016'), save_steps=2)
    for at in (17, 21): # before its first own checkpoint, and after
        with pytest.raises(RuntimeError): train(fork, [At(at, gone)])
    train(fork)
    *first, last = (e['step'] for e in events(fork.run_dir, 'resumed'))
    assert first == [16, 16] and last in (18, 20) # a save that is under way when a run crashes may not end
    train(fork.replace(experiment_name='fork-alone'))
    assert outcome(fork.run_dir)['state'] == outcome(home/'runs'/'fork-alone')['state']

@pytest.mark.parametrize('now', [-3e8, 3e8])
def test_the_clock_may_jump(cut, monkeypatch, now):
    for i, p in enumerate(cut.run_dir.rglob('*')): os.utime(p, (i*1e8 % 3e9, i*1e8 % 3e9))
    today = time.time()
    monkeypatch.setattr(time, 'time', lambda: today + now) # ten years
    monkeypatch.setenv('TZ', 'Pacific/Kiritimati')
    train(cut)
    assert [r['step'] for r in read_jsonl(cut.run_dir/'metrics.jsonl') if r['split'] == 'train'] == [3, 6, 9, 12, 15, 16]

def test_links_are_refused(home):
    (home/'elsewhere').mkdir(), (home/'runs').mkdir()
    (home/'runs'/'x').symlink_to(home/'elsewhere')
    with pytest.raises(SetupError, match='is a link'): train(tiny(home))
    assert not list((home/'elsewhere').iterdir())

@pytest.mark.parametrize('name', ['checkpoints', 'eval', 'best', 'final', 'metrics.jsonl', 'lock'])
def test_links_inside_a_run_are_refused(cut, tmp_path, name):
    where, moved = cut.run_dir/name, tmp_path/'moved'
    if where.exists(): where.rename(moved)
    else: moved.mkdir()
    before = sorted((p.name, p.stat().st_mtime_ns) for p in [moved, *moved.rglob('*')])
    where.symlink_to(moved)
    with pytest.raises(SetupError, match='link'): train(cut)
    assert sorted((p.name, p.stat().st_mtime_ns) for p in [moved, *moved.rglob('*')]) == before

def test_what_an_attacker_leaves_for_the_best_model_to_be_written_through(home):
    def plant(run): (home/'canary').mkdir(), (home/'canary'/'x').touch(), (run.folder/'.tmp-best').symlink_to(home/'canary'), (run.folder/'.tmp-final').symlink_to(home/'canary'), (run.folder/'.old-final').symlink_to(home/'canary')
    train(tiny(home), [At(1, plant)])
    assert [p.name for p in (home/'canary').iterdir()] == ['x']

def test_the_folder_of_another_run_is_not_taken(home):
    train(tiny(home))
    train(tiny(home, experiment_name='y', seed=1))
    shutil.rmtree(home/'runs'/'x'/'checkpoints')
    shutil.copytree(home/'runs'/'y'/'checkpoints', home/'runs'/'x'/'checkpoints')
    with pytest.raises(CheckpointError, match='belongs to run'): train(tiny(home, max_steps=20))
    assert sorted(checkpoints(home/'runs'/'x'/'checkpoints')) == sorted(checkpoints(home/'runs'/'y'/'checkpoints')) # untouched

def test_changed_data_is_shown_and_refused(home, drawn):
    from PIL import Image, ImageOps
    cfg = tiny(home, data_path=str(drawn), synth_share=0.)
    with pytest.raises(RuntimeError): train(cfg, [At(5, gone)])
    table = drawn/'train'/'metadata.jsonl'
    rows = read_jsonl(table)
    def refused(changed, says):
        write_jsonl(table, changed)
        with pytest.raises(DataError, match=says): train(cfg)
    refused([*rows[:2], dict(rows[2], text=rows[2]['text'] + 'X'), *rows[3:]], '1 changed')
    refused(rows[1:] + rows[:1], 'another order')
    refused(rows[:2] + rows[3:], '1 removed')
    refused([*rows, dict(rows[0], id='new')], '1 added')
    image = drawn/'train'/rows[2]['file_name']
    ImageOps.invert(Image.open(image).convert('L')).save(image)
    refused(rows, '1 changed')

# --- numbers, memory, workers

def one_step_fails(monkeypatch, steps, error):
    "The forward pass fails once at each of `steps`, as a full GPU makes it fail"
    real, left = training.train_step, set(steps)
    def step(run, micro):
        if run.step + 1 in left:
            left.discard(run.step + 1)
            raise error
        return real(run, micro)
    monkeypatch.setattr(training, 'train_step', step)

@share(2, 50)
def test_out_of_memory_at_any_step(home, monkeypatch, n, reliability):
    whole = runner(home, 1)
    fit(whole)
    for i in range(n):
        with monkeypatch.context() as patch:
            one_step_fails(patch, {1 + i*7 % 24}, torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB') if i % 2 else RuntimeError("DefaultCPUAllocator: can't allocate memory"))
            run = runner(home, 1)
            fit(run)
        assert (run.split, run.step) == (2, 24)
        a, b = run.callbacks[0], whole.callbacks[0]
        assert a.ids == b.ids
        for s in a.losses: assert math.isclose(a.losses[s], b.losses[s], rel_tol=1e-3), (s, a.losses[s], b.losses[s])
        first = 1 + i*7 % 24
        assert math.isclose(a.losses[first], b.losses[first], rel_tol=1e-6) # the redone step itself, before rounding can grow
    reliability('out of memory: the same step again in smaller parts', n, n, 'loss within 1e-6')

@share(2, 30)
def test_out_of_memory_in_the_middle_of_a_step(home, n, reliability):
    "In the forward or the backward pass of the second part, when gradients of the first are there already"
    whole = runner(home, 2, total=8)
    fit(whole)
    for i in range(n):
        run, at, calls = runner(home, 2, total=8), 1 + i % 8, []
        def fails(real):
            def call(*args, **kw):
                if run.step + 1 == at and run.split == 1:
                    calls.append(at)
                    if len(calls) == 2: raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB')
                return real(*args, **kw)
            return call
        with pytest.MonkeyPatch.context() as m:
            if i % 2: m.setattr(torch.autograd, 'grad', fails(torch.autograd.grad))
            else: run.rec.losses = fails(run.rec.losses)
            fit(run)
        assert len(calls) >= 2 and run.split == 2 and run.step == 8 # another part may have begun when the second failed
        a, b = run.callbacks[0].losses, whole.callbacks[0].losses
        assert math.isclose(a[at], b[at], rel_tol=1e-6)
        for s in a: assert math.isclose(a[s], b[s], rel_tol=1e-3), s
    reliability('out of memory in the second part of a step, forward or backward', n, n, 'loss within 1e-6')

@share(2, 20)
def test_gradients_that_are_infinite(home, n, reliability):
    "The loss is a number and its gradient is none: no update; five in a row end the run, and best/ is finite"
    for i in range(n):
        run, bad = runner(home, 1), 1 + i*5 % 8
        run.total, p = 8, next(iter(run.rec.trainable().values()))
        p.register_hook(lambda g: g*math.inf if run.step + 1 == bad else g)
        fit(run)
        assert (run.skipped, run.step) == (1, 8) and all(torch.isfinite(q).all() for q in run.rec.parameters())
    reliability('a gradient that is not finite: no update', n, n, 'weights finite')

def test_numbers_that_stay_bad_end_the_run_and_are_never_best(home, monkeypatch):
    real = training.train_step
    def step(run, micro):
        if run.step >= 9: run.rec.trainable()[next(iter(run.rec.trainable()))].register_hook(lambda g: g*math.nan)
        return real(run, micro)
    monkeypatch.setattr(training, 'train_step', step)
    with pytest.raises(Diverged, match='five times in a row'): train(tiny(home, eval_steps=2, early_stopping_patience=0))
    from safetensors.torch import load_file
    assert all(torch.isfinite(t).all() for t in load_file(home/'runs'/'x'/'best'/'model.safetensors').values())
    found = load(max((home/'runs'/'x'/'checkpoints').glob('step-*')))
    assert all(torch.isfinite(t).all() for t in found.model.values())

@share(2, 50)
def test_a_loss_that_is_no_number(home, monkeypatch, n, reliability):
    for i in range(n):
        run = runner(home, 1)
        bad = 1 + i*5 % 24
        class Poison(torch.nn.Module):
            def __init__(self, rec): super().__init__(); self.rec = rec
            def forward(self, batch):
                sums, tokens = self.rec(batch)
                return (sums*[math.nan, math.inf][i % 2], tokens) if run.step + 1 == bad else (sums, tokens)
        run.model = Poison(run.rec)
        fit(run)
        assert (run.skipped, run.step) == (1, 24)
        assert all(torch.isfinite(p).all() for p in run.rec.parameters())
        assert all(torch.isfinite(m).all() for m in run.ema.mean)
    reliability('a loss or gradient that is not finite: no update', n, n, 'weights finite')

def test_loss_spikes_are_found_and_calm_runs_are_not_accused(home):
    rng, run = random.Random(0), runner(home, 1)
    def found(spike_at):
        callback, told = Spikes(), []
        run.event = lambda what, **facts: told.append(run.step)
        for run.step in range(1, 121):
            run.loss = math.exp(rng.gauss(0, .4))*(2 - run.step/100)
            if run.step == spike_at: run.loss *= 30
            callback.after_step(run)
        return told
    for i in range(20): assert 30 + i*4 in found(30 + i*4)
    assert not any(found(0) for _ in range(20))

@share(2, 50)
def test_workers_that_die(home, n, reliability):
    whole = runner(home, 1, total=10)
    fit(whole)
    for i in range(n):
        flag = home/f'died{i}'
        run = runner(home, 1, total=10, dataloader_num_workers=1 + i % 2)
        real = run.batches
        def batches(epoch, k=i*5, how=i % 3):
            samples, plan = real(epoch)
            k %= len(samples) # an epoch may have a line less
            def dies(load=samples[k].load, main=os.getpid()):
                if os.getpid() != main and not flag.exists():
                    flag.touch()
                    [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: os._exit(1), lambda: os.kill(os.getpid(), signal.SIGBUS)][how]()
                return load()
            samples[k] = replace(samples[k], load=dies)
            return samples, plan
        run.batches = batches
        fit(run)
        assert flag.exists()
        assert state_digest(replace(capture(run), state={})) == state_digest(replace(capture(whole), state={}))
    reliability('a loader worker is killed, ends, or dies of a bus error: restarted at the same place', n, n, 'yes')

@pytest.mark.parametrize('error', [ConnectionResetError(104, 'Connection reset by peer'), EOFError(), FileNotFoundError(2, 'No such file or directory')], ids=lambda e: type(e).__name__)
def test_a_worker_that_dies_while_it_hands_over(home, monkeypatch, error):
    import welllog_ocr.models.loader as loader
    real, left = loader._next, [error]
    def next_(feed, silence):
        got = real(feed, silence)
        if left: raise left.pop()
        return got
    monkeypatch.setattr(loader, '_next', next_)
    run, whole = runner(home, 1, total=4, dataloader_num_workers=1), runner(home, 1, total=4)
    fit(run), fit(whole)
    assert not left and run.callbacks[0].losses == whole.callbacks[0].losses

@share(2, 20)
def test_a_volume_that_blinks(home, n, reliability):
    "An image cannot be read once or twice, and then it can: nothing is lost and nothing is different"
    whole = runner(home, 1, total=8)
    fit(whole)
    for i in range(n):
        run, tries = runner(home, 1, total=8), []
        real = run.batches
        def batches(epoch, k=None):
            samples, plan = real(epoch)
            k = plan[i % 8][0]
            def blinks(load=samples[k].load):
                tries.append(k)
                if len(tries) <= 1 + i % 2: raise OSError(5, 'Input/output error')
                return load()
            samples[k] = replace(samples[k], load=blinks)
            return samples, plan
        run.batches = batches
        fit(run)
        assert len(tries) >= 2 and not run.journal.events.exists() # nothing had to be told
        assert run.callbacks[0].losses == whole.callbacks[0].losses
    reliability('a volume that cannot be read for a moment', n, n, 'yes')

@share(2, 20)
def test_images_that_vanish_mid_run(home, drawn, n, reliability):
    for i in range(n):
        cfg = tiny(home, data_path=str(drawn), synth_share=0., experiment_name=f'gone{i}')
        held = read_jsonl(drawn/'train'/'metadata.jsonl')[i]['file_name']
        vanish = lambda run: (drawn/'train'/held).rename(home/'away')
        folder = train(cfg, [At(3, vanish)])
        (home/'away').rename(drawn/'train'/held)
        assert events(folder, 'image_lost') and events(folder, 'end')
    reliability('an image is deleted while a run needs it', n, n, 'order unchanged')

def test_a_disk_that_fills_up_does_not_end_a_training(home, monkeypatch):
    import welllog_ocr.run.checkpoint as checkpoint
    def full(path, data): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(checkpoint, '_write', full)
    folder = train(tiny(home))
    assert events(folder, 'save_failed') and events(folder, 'end') and not list((folder/'checkpoints').iterdir())
