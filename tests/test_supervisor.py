"""The supervisor: what it does about each way in which a training can end, with trainings that are none; and once with a real one."""
import os, signal, subprocess, sys, threading, time
from pathlib import Path

import pytest
from conftest import ROOT
from runs import tiny

from welllog_ocr.config import config_json
from welllog_ocr.core import SetupError
from welllog_ocr.files import read_json, read_jsonl
from welllog_ocr.run.supervision import Rules, supervisor_dir, supervisor_pid
from welllog_ocr.supervisor import Supervisor

ENV = {**os.environ, 'HF_HUB_OFFLINE': '1', 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
FAST = Rules(hang_s=.6, start_s=20., save_s=1., stop_s=1., pause_s=0., fruitless=4)

def supervisor(tmp_path, *lives, rules=FAST, group=None, **changes):
    "A supervisor over a training that is none; each of `lives` says how one ends, the last one again and again"
    cfg = tiny(tmp_path, **changes)
    supervisor_dir(cfg.run_dir).mkdir(parents=True)
    s = Supervisor(cfg, rules, group)
    s.worker_command = lambda fd: [sys.executable, '-S', str(ROOT/'tests'/'worker.py'), str(fd), str(cfg.run_dir), *lives]
    return s

def log(s, what=None): return [e for e in read_jsonl(s.home/'log.jsonl') if what in (None, e['event'])]
def whys(s): return [e['why'] for e in log(s, 'crashed')]

def test_a_training_that_ends_ends_the_supervisor(tmp_path):
    s = supervisor(tmp_path, 'done')
    assert s.supervise() == 0 and s.starts == 1 and s.step == 20

@pytest.mark.parametrize('status', [2, 3, 4, 5])
def test_what_a_training_says_itself_is_final(tmp_path, status):
    s = supervisor(tmp_path, f'{status}@3')
    assert s.supervise() == status and s.starts == 1

def test_a_killed_training_goes_on(tmp_path):
    s = supervisor(tmp_path, 'killed@4', 'killed@7', 'killed@8', 'killed@14', 'done')
    assert s.supervise() == 0 and s.starts == 5
    assert whys(s) == ['killed by SIGKILL']*4
    assert [e['step'] for e in read_jsonl(s.run/'events.jsonl')] == [4, 7, 8, 14]

def test_the_same_crash_three_times_is_the_end(tmp_path):
    for k, life in enumerate(('killed@7', 'raised@7', 'hung@7', '1@7')):
        s = supervisor(tmp_path/str(k), life)
        with pytest.raises(SetupError, match='crashed three times at step 7'): s.supervise()
        assert s.starts == 3
        assert [e['event'] for e in read_jsonl(s.run/'events.jsonl')] == ['crashed']*3 # a crash that the training wrote down is not counted twice

def test_crashes_that_lead_nowhere_are_the_end(tmp_path):
    s = supervisor(tmp_path, 'killed@2', 'killed@3', 'killed@4', 'killed@3', 'killed@2')
    with pytest.raises(SetupError, match='4 starts in a row brought no new checkpoint'): s.supervise()

def test_a_hung_training_is_taken_down_and_goes_on(tmp_path):
    s = supervisor(tmp_path, 'hung@6', 'done')
    start = time.monotonic()
    assert s.supervise() == 0 and time.monotonic() - start < 10
    assert whys(s) == ['hung: no sign of life'] and s.hangs == 1
    stacks = (s.home/'stacks.txt').read_text()
    assert 'the training hangs at step 6' in stacks and 'in end' in stacks # the function that it hung in
    assert (s.run/'asked').read_text() == 'SIGTERM' # it could save

@pytest.mark.parametrize('life', ['deaf', 'frozen'])
def test_one_that_does_not_even_hear_signals_is_killed(tmp_path, life):
    s = supervisor(tmp_path, f'{life}@6', 'done')
    assert s.supervise() == 0 and whys(s) == ['hung: no sign of life']
    assert 'in end' in (s.home/'stacks.txt').read_text()

def test_files_that_grow_are_a_sign_of_life(tmp_path):
    s = supervisor(tmp_path, 'hung@6', 'done')
    stop = threading.Event()
    def grow():
        while not stop.wait(.05):
            with open(s.run/'checkpoint.part', 'a') as f: f.write('x')
    t = threading.Thread(target=grow)
    t.start()
    threading.Timer(3, stop.set).start()
    start = time.monotonic()
    assert s.supervise() == 0 and time.monotonic() - start > 3
    t.join()

def test_lack_of_memory_is_told_and_costs_loader_workers(tmp_path):
    group = tmp_path/'group'
    group.mkdir()
    (group/'memory.events').write_text('oom_kill 0\n'), (group/'memory.max').write_text('1000\n')
    s = supervisor(tmp_path, 'killed@4', 'killed@7', 'done', group=group, dataloader_num_workers=4)
    s.rss = 950
    assert s.supervise() == 0
    assert all('memory near the limit' in w for w in whys(s)) and s.workers == 1
    kills = supervisor(tmp_path/'2', 'killed@4', 'done', group=group, dataloader_num_workers=4)
    real = kills.start_worker
    def start():
        real()
        (group/'memory.events').write_text(f'oom_kill {kills.starts}\n'), (group/'memory.max').write_text('max\n')
    kills.start_worker = start
    assert kills.supervise() == 0 and 'the kernel ended it for lack of memory' in whys(kills)[0]

def stop_when_there(s, number):
    "Ask a supervisor to stop as soon as its worker is where it is to be"
    def wait():
        while not (s.run/'there').exists(): time.sleep(.02)
        s.stop_signal = number
    threading.Thread(target=wait, daemon=True).start()

def test_a_signal_is_passed_on_and_its_status_comes_back(tmp_path):
    for number, life in ((signal.SIGTERM, 'hung@3'), (signal.SIGINT, 'hung@3'), (signal.SIGTERM, 'frozen@3')):
        s = supervisor(tmp_path/f'{number}{life}', life, rules=Rules(hang_s=60.))
        stop_when_there(s, number)
        assert s.supervise() == 128 + number and s.starts == 1
        assert (s.run/'asked').read_text() == signal.Signals(number).name
    deaf = supervisor(tmp_path/'deaf', 'deaf@3', rules=Rules(hang_s=60., stop_s=.5))
    stop_when_there(deaf, signal.SIGTERM)
    assert deaf.supervise() == 128 + signal.SIGKILL

def test_after_a_crash_it_goes_on_from_the_newest_checkpoint(tmp_path):
    cfg = tiny(tmp_path, resume_from_checkpoint='/a/named/step-00000002')
    cfg.run_dir.mkdir(parents=True)
    s = Supervisor(cfg)
    s.starts = 1
    assert '--resume' not in s.worker_command(3)
    s.starts = 2
    assert '--resume' not in s.worker_command(3) # a fork that was never begun
    (cfg.run_dir/'run.json').write_text('{}')
    assert s.worker_command(3)[-2:] == ['--resume', 'auto']

def begin(cfg, *args):
    (Path(cfg.output_dir).parent/'cfg.json').write_text(config_json(cfg))
    return subprocess.Popen([sys.executable, '-m', 'welllog_ocr.supervisor', '--pause_s', '0', '--config', Path(cfg.output_dir).parent/'cfg.json', *args], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

def until(true, p, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end and p.poll() is None, p.stdout.read()
        time.sleep(.02)

def worker_of(cfg): return read_json(supervisor_dir(cfg.run_dir)/'status.json')['worker']
def saved(cfg, step): return (cfg.run_dir/'checkpoints'/f'step-{step:08}').is_dir()

def test_a_real_training_killed_and_stopped(home):
    "SIGKILL to the training, then SIGTERM to the supervisor; the same command goes on to the end"
    cfg = tiny(home, max_steps=60, eval_steps=60, notify_url='json://127.0.0.1:9/CANARYhook')
    p = begin(cfg)
    until(lambda: saved(cfg, 6), p)
    os.kill(worker_of(cfg), signal.SIGKILL)
    until(lambda: saved(cfg, 20), p)
    second = subprocess.run(p.args, env=ENV, capture_output=True, text=True)
    assert second.returncode == 3 and 'a supervisor is at work' in second.stderr
    p.terminate()
    assert p.wait(60) == 143
    assert subprocess.run(p.args, env=ENV, capture_output=True).returncode == 0
    whys = [e.get('why') for e in read_jsonl(supervisor_dir(cfg.run_dir)/'log.jsonl') if e['event'] == 'crashed']
    assert whys == ['killed by SIGKILL']
    steps = [r['step'] for r in read_jsonl(cfg.run_dir/'metrics.jsonl') if r['split'] == 'train']
    assert steps == list(range(3, 61, 3))
    assert supervisor_pid(cfg.run_dir) is None
    assert any(e['event'] == 'notify_failed' for e in read_jsonl(cfg.run_dir/'events.jsonl'))
    assert not [p for p in cfg.run_dir.rglob('*') if p.is_file() and b'CANARYhook' in p.read_bytes()]

@pytest.mark.soak
def test_real_trainings_killed_and_frozen(home, reliability):
    "SIGKILL and SIGSTOP in turn, ten times each; the run ends with the steps of one that was left alone"
    cfg = tiny(home, max_steps=2000, eval_steps=2000, logging_steps=1, save_steps=5)
    p, took = begin(cfg, '--hang_s', '5'), []
    log = lambda what: [e for e in read_jsonl(supervisor_dir(cfg.run_dir)/'log.jsonl') if e['event'] == what]
    for k in range(20):
        step = max([int(f.name[5:]) for f in (cfg.run_dir/'checkpoints').glob('step-*')], default=0)
        until(lambda: saved(cfg, step + 10) and len(log('started')) == k + 1, p)
        start = time.monotonic()
        os.kill(worker_of(cfg), signal.SIGSTOP if k % 2 else signal.SIGKILL)
        until(lambda: len(log('crashed')) == k + 1, p)
        if k % 2: took.append(time.monotonic() - start)
    p.terminate()
    assert p.wait(120) == 143
    assert [e['why'] for e in log('crashed')] == ['killed by SIGKILL', 'hung: no sign of life']*10
    steps = [r['step'] for r in read_jsonl(cfg.run_dir/'metrics.jsonl') if r['split'] == 'train']
    assert steps == list(range(1, len(steps) + 1))
    assert (supervisor_dir(cfg.run_dir)/'stacks.txt').read_text().count('the training hangs') == 10
    reliability('training under the supervisor killed by SIGKILL', 10, '10', 'steps without a gap')
    reliability('training under the supervisor frozen by SIGSTOP', 10, '10', f'stacks written, resumed; ended {max(took):.0f} s after, at hang_s=5')

@pytest.mark.soak
def test_lack_of_memory_and_the_same_crash_again_and_again(tmp_path, reliability):
    group = tmp_path/'group'
    group.mkdir()
    (group/'memory.max').write_text('1000\n')
    for k in range(20):
        s = supervisor(tmp_path/f'memory{k}', f'killed@{k % 15 + 1}', 'done', group=group, dataloader_num_workers=4)
        s.rss = 950
        assert s.supervise() == 0 and 'memory near the limit' in whys(s)[0] and s.workers == 2
        s = supervisor(tmp_path/f'same{k}', f'{("killed", "raised", "1")[k % 3]}@{k % 15 + 1}')
        with pytest.raises(SetupError, match='crashed three times'): s.supervise()
        assert s.starts == 3
    reliability('worker killed with its memory near the limit (a training that is none)', 20, '20', 'told as such, half the loader workers')
    reliability('the same crash at the same step (a training that is none)', 20, '20', 'ended after 3 starts')

@pytest.mark.soak
def test_hangs_again_and_again(tmp_path, reliability):
    took = []
    for k in range(12):
        s = supervisor(tmp_path/str(k), f'{("hung", "deaf", "frozen")[k % 3]}@{k + 1}', 'done')
        start = time.monotonic()
        assert s.supervise() == 0 and whys(s) == ['hung: no sign of life'] and 'in end' in (s.home/'stacks.txt').read_text()
        took.append(time.monotonic() - start - FAST.hang_s)
    assert max(took) < 10
    reliability('a hang: asleep, deaf to SIGTERM, stopped by SIGSTOP (a training that is none)', 12, '12', f'stacks written, resumed, done {max(took):.1f} s after the limit at most')
