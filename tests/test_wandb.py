"""The tracker W&B: whatever happens there, a run neither waits nor ends, and no row is lost"""
import os, random, signal, socket, subprocess, sys, threading, time
from contextlib import contextmanager
from dataclasses import asdict

import pytest

from runs import in_child, tiny
from wandb_server import WandbServer
from welllog_ocr.run import trackers
from welllog_ocr.config import TrainingConfig
from welllog_ocr.files import append_jsonl, read_json, read_jsonl, write_atomic, write_json
from welllog_ocr.run.callbacks import Callback
from welllog_ocr.run.tracker import Tracker, follow, row_number
from welllog_ocr.run.trackers import TrackerProcess
from welllog_ocr.train import train

KEY = 'a'*40

@pytest.fixture
def env(monkeypatch, tmp_path):
    "No key and no settings of whoever runs the tests"
    for name in [n for n in os.environ if n.startswith('WANDB_')]: monkeypatch.delenv(name)
    monkeypatch.setenv('NETRC', str(tmp_path/'netrc'))
    monkeypatch.setenv('WANDB_CONFIG_DIR', str(tmp_path/'config'))
    monkeypatch.setattr(trackers, 'LINGER', 3.)
    return monkeypatch

@pytest.fixture
def server(env):
    with WandbServer() as s:
        env.setenv('WANDB_API_KEY', KEY)
        env.setenv('WANDB_BASE_URL', s.url)
        yield s

def grow(folder, rows, pause=.02, dead=None):
    "Write rows as a training does; the longest time that one took"
    path, longest = folder/'metrics.jsonl', 0.
    n = len(read_jsonl(path)) if path.exists() else 0
    while n < rows and (dead is None or time.monotonic() < dead):
        start = time.monotonic()
        append_jsonl(path, dict(step=10*(n//2), epoch=0, split='eval' if n % 2 else 'train', loss=1/(n + 1), cer=.1))
        longest, n = max(longest, time.monotonic() - start), n + 1
        time.sleep(pause)
    return longest

def folder_of(tmp_path, name='run'):
    folder = tmp_path/name
    folder.mkdir()
    write_json(folder/'run.json', dict(run_id='abc123'))
    write_json(folder/'config.json', asdict(TrainingConfig(experiment_name=name)))
    return folder

def config(folder): return read_json(folder/'config.json')
def numbers(folder): return [row_number(r) for r in read_jsonl(folder/'metrics.jsonl')]

# --- what reaches W&B

def test_online(server, tmp_path):
    folder, told = folder_of(tmp_path), []
    tracker = TrackerProcess(folder, config(folder), lambda what, **facts: told.append((what, facts)), linger=20)
    grow(folder, 20, .05)
    append_jsonl(folder/'events.jsonl', dict(event='end', step=100))
    assert tracker.close(), told
    assert [r['_step'] for r in server.history('abc123')] == numbers(folder)
    assert server.history('abc123')[3]['eval/cer'] == .1 and server.history('abc123')[3]['step'] == 10
    assert server.runs['abc123'].name == 'run' and [w for w, _ in told] == ['wandb', 'wandb_done']
    shown = server.runs['abc123'].config
    assert 'learning_rate' in shown and 'notify_url' not in shown

def kill_and_resume(folder, kills, seed, rows, name='wandb'):
    "Legs that are killed, each with rows of its own; metrics.jsonl is cut back before each, as a resume does"
    rng = random.Random(seed)
    def leg(until):
        path = folder/'metrics.jsonl'
        if path.exists(): write_atomic(path, b''.join(path.read_bytes().splitlines(keepends=True)[:max(0, len(numbers(folder)) - rng.randint(0, 5))]))
        tracker = TrackerProcess(folder, config(folder), lambda what, **facts: None, linger=60, name=name)
        time.sleep(rng.choice([0, .5, 3])) # killed before W&B is there, or after
        grow(folder, until, .05)
        if until < rows and name != 'wandb' and rng.random() < .5: tracker.process.kill() # as when the machine goes away
        if until < rows: os.kill(os.getpid(), signal.SIGKILL)
        append_jsonl(folder/'events.jsonl', dict(event='end', step=0))
        os._exit(0 if tracker.close() else 7)
    for k in range(kills):
        rng.random() # the child's draws are lost with it
        assert in_child(lambda: leg(rows*(k + 1)//(kills + 1))) == -signal.SIGKILL
    assert in_child(lambda: leg(rows)) == 0
    return kills

def sync(server, folder):
    env = {k: v for k, v in os.environ.items() if k != 'WANDB_MODE'} | dict(WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
    found = subprocess.run([sys.executable, '-m', 'wandb', 'sync', str(folder/'wandb')], env=env, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0 and 'ERROR' not in found.stderr, found.stderr

def check_killed(server, tmp_path, mode, kills, seed, rows):
    folder = folder_of(tmp_path, f'{mode}{seed}')
    done = kill_and_resume(folder, kills, seed, rows)
    if mode == 'offline': sync(server, folder)
    got = [r['_step'] for r in server.history('abc123')]
    assert got == numbers(folder) and len(got) == rows and got == sorted(set(got))
    assert not server.runs['abc123'].gaps
    return done

def test_killed_and_resumed_offline(server, env, tmp_path):
    env.setenv('WANDB_MODE', 'offline')
    check_killed(server, tmp_path, 'offline', 2, 0, 40)

@pytest.mark.soak
@pytest.mark.parametrize('mode', ['offline', 'online'])
def test_killed_and_resumed_often(server, env, tmp_path, reliability, mode):
    if mode == 'offline': env.setenv('WANDB_MODE', mode)
    done = check_killed(server, tmp_path, mode, 10, 1, 150)
    reliability(f'killed and resumed, W&B {mode}', done, f'{done}: steps strictly increasing at W&B, no gap, no double', 'does not apply')

def test_offline_then_online(server, env, tmp_path):
    "A leg without network, then one with: W&B gets all rows once, and `wandb sync` finds nothing to send a second time"
    folder = folder_of(tmp_path)
    env.setenv('WANDB_MODE', 'offline')
    tracker = TrackerProcess(folder, config(folder), lambda *a, **k: None, linger=20)
    grow(folder, 10); assert tracker.close()
    env.delenv('WANDB_MODE')
    tracker = TrackerProcess(folder, config(folder), lambda *a, **k: None, linger=20)
    grow(folder, 20); assert tracker.close()
    sync(server, folder)
    assert [r['_step'] for r in server.history('abc123')] == numbers(folder) and len(numbers(folder)) == 20

# --- when W&B is in trouble

FAKE = '''
import os, sys, time
fault = os.environ['FAULT']
def do(where):
    if fault == f'{where} raises': raise RuntimeError(f'{where} is down')
    if fault == f'{where} hangs': time.sleep(1000)
    if fault == f'{where} dies': os._exit(9)
    if fault == f'{where} exits': sys.exit(1)
class Summary(dict): pass
class Run:
    starting_step, url, summary = 0, 'http://fake', Summary()
    def define_metric(self, *a, **k): pass
    def log(self, row, step, commit):
        do('log')
        open(os.environ['SENT'], 'a').write(f'{step}\\n')
    def finish(self, exit_code): do('finish')
def Settings(**k): return k
def Table(**k): return k
def Image(path): return path
def init(**k):
    do('init')
    return Run()
do('import')
'''
FAULTS = [f'{where} {how}' for where in ('import', 'init', 'log', 'finish') for how in ('raises', 'hangs', 'dies', 'exits')]

@contextmanager
def fake_wandb(env, tmp_path, fault):
    (tmp_path/'fake').mkdir(exist_ok=True)
    (tmp_path/'fake'/'wandb.py').write_text(FAKE)
    with env.context() as m:
        m.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path/'fake'), os.environ.get('PYTHONPATH', '')]))
        m.setenv('FAULT', fault), m.setenv('SENT', str(tmp_path/'sent')), m.setenv('WANDB_API_KEY', KEY)
        yield

@contextmanager
def blackhole(env):
    "A port that takes connections and never answers"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0)), s.listen(64)
        with env.context() as m:
            m.setenv('WANDB_API_KEY', KEY), m.setenv('WANDB_BASE_URL', f'http://127.0.0.1:{s.getsockname()[1]}')
            yield

@contextmanager
def refusing(env, status):
    "A server that answers every request with this status: a bad key, no more quota, down"
    with WandbServer() as s, env.context() as m:
        s.status = status
        m.setenv('WANDB_API_KEY', KEY), m.setenv('WANDB_BASE_URL', s.url)
        yield

@contextmanager
def trouble(env, tmp_path, fault):
    kind, _, what = fault.partition(':')
    with {'fake': lambda: fake_wandb(env, tmp_path, what), 'blackhole': lambda: blackhole(env), 'status': lambda: refusing(env, int(what or 0))}[kind](): yield

TROUBLES = [f'fake:{f}' for f in FAULTS] + ['blackhole', 'status:401', 'status:429', 'status:500']

def trained(home, env, tmp_path, fault):
    "A machine that is busy with other things makes steps long, too: up to three tries for the time, none for the rows"
    for attempt in range(3):
        longest = trained_once(home, env, tmp_path, fault, f'{attempt}')
        if longest < 2: return longest
    raise AssertionError(f'{fault}: a step of {longest:.1f} s')

def trained_once(home, env, tmp_path, fault, attempt):
    "A training with W&B in trouble, against one without W&B: the same rows, no step that waits, an end in time"
    cfg = tiny(home, experiment_name='plain', logging_steps=1)
    if not cfg.run_dir.exists(): train(cfg)
    times = []
    class Times(Callback):
        def after_step(self, run): times.append(time.monotonic())
    name = fault.replace(':', '-').replace(' ', '-') + attempt
    with trouble(env, tmp_path, fault):
        start = time.monotonic()
        train(cfg.replace(experiment_name=name, use_wandb=True), [Times()])
        took = time.monotonic() - start
    clockless = lambda c: [{k: v for k, v in r.items() if k not in ('elapsed_s', 'samples_per_s')} for r in read_jsonl(c.run_dir/'metrics.jsonl')]
    mine = cfg.replace(experiment_name=name)
    assert clockless(mine) == clockless(cfg)
    events = [e['event'] for e in read_jsonl(mine.run_dir/'events.jsonl')]
    assert 'end' in events and 'wandb_behind' in events, events
    longest = max(b - a for a, b in zip(times, times[1:]))
    assert took < times[-1] - start + trackers.LINGER + 30, (longest, took)
    return longest

@pytest.mark.parametrize('fault', ['fake:init hangs', 'fake:log dies'])
def test_trouble(home, env, tmp_path, fault): trained(home, env, tmp_path, fault)

@pytest.mark.soak
def test_every_trouble(home, env, tmp_path, reliability):
    longest = max(trained(home, env, tmp_path, fault) for fault in TROUBLES)
    reliability('W&B down, hanging, refusing or dying: at import, init, in a row, at the end; blackhole, bad key, quota', len(TROUBLES), f'{len(TROUBLES)} runs ended as they should, 0 rows lost, longest step {longest:.2f} s', 'yes')

def test_what_was_missed_is_sent_later(server, env, tmp_path):
    "W&B is down for a whole run; the command sends it when it is back, and once more sends nothing"
    folder, told = folder_of(tmp_path), []
    server.status = 500
    tracker = TrackerProcess(folder, config(folder), lambda what, **facts: told.append(what), linger=1)
    grow(folder, 20)
    assert not tracker.close() and told[-1] == 'wandb_behind'
    server.status = 200
    for sent in (20, 0):
        found = subprocess.run([sys.executable, '-m', 'welllog_ocr.mirror', str(folder), '--timeout', '60'], capture_output=True, text=True)
        assert found.returncode == 0 and f'sent {sent}' in found.stdout, found.stdout + found.stderr
    assert [r['_step'] for r in server.history('abc123')] == numbers(folder)

def test_command_without_a_run(tmp_path):
    found = subprocess.run([sys.executable, '-m', 'welllog_ocr.mirror', str(tmp_path)], capture_output=True, text=True)
    assert found.returncode == 2 and 'is no run folder' in found.stderr

# --- secrets

def planted(env, server_url=None):
    secrets = dict(HF_TOKEN='hf_CANARYcanaryCANARYcanary0001', WANDB_API_KEY='CANARY' + 'b'*34, RUNPOD_API_KEY='rpa_CANARY0002xyz', MY_PASSWORD='CANARY-pass-0003', WELLLOG_OCR_NOTIFY_URL='http://127.0.0.1:9/CANARY0004')
    for name, value in secrets.items(): env.setenv(name, value)
    return [*secrets.values(), 'hf_CANARYinthepath0005CANARY']

def found_in(folder, secrets):
    return [(str(p.relative_to(folder)), s) for p in folder.rglob('*') if p.is_file() for s in secrets if s.encode() in p.read_bytes()]

@pytest.mark.parametrize('mode', ['offline', 'online'])
def test_canary(home, env, capfd, mode):
    "Tokens in the environment and in the path of the data: none of them in the run folder, at W&B, or on the screen"
    from welllog_ocr.synth import write_folder
    secrets = planted(env)
    data = home/'hf_CANARYinthepath0005CANARY'
    write_folder(data, n=24)
    env.setattr('welllog_ocr.run.trackers.LINGER', 60) # what is sent is the point, however slow the machine is
    with WandbServer() as s:
        env.setenv('WANDB_BASE_URL', s.url), env.setenv('WANDB_MODE', mode)
        cfg = tiny(home, data_path=str(data), use_wandb=True, max_steps=4)
        train(cfg)
        sent = b''.join(body for _, body in s.requests) + b''.join(s.files.values())
    assert not found_in(home/'runs', secrets)
    assert not [x for x in secrets if x.encode() in sent]
    said = capfd.readouterr()
    assert not [x for x in secrets if x in said.out + said.err]
    if mode == 'online': assert s.history(read_json(cfg.run_dir/'run.json')['run_id'])

# --- the interface

def test_any_tracker(tmp_path):
    "Whoever wants the rows gets all of them, cut-backs included, and the end"
    folder, seen, over = folder_of(tmp_path), [], threading.Event()
    class Mine(Tracker):
        def row(self, row): seen.append(row_number(row))
        def close(self): seen.append('closed')
    thread = threading.Thread(target=follow, args=(folder, Mine(), over.is_set, .01))
    thread.start()
    grow(folder, 12, .01)
    over.set(), thread.join(5)
    assert seen == [*numbers(folder), 'closed']
