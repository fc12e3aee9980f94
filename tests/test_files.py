"""One rule for a torn last line, one lock: the same wherever a file is read, followed, cut or continued."""
import json, os, signal, subprocess, sys

import pytest
from conftest import ROOT

from welllog_ocr.core import DataError, SetupError
from welllog_ocr.files import Tail, append_jsonl, each_row, is_locked, keep_rows, lock_owner, locked, read_jsonl, write_atomic, write_jsonl

ROWS  = [dict(step=i, text='½ "°\u2028') for i in (1, 2, 3)]
WHOLE = ''.join(json.dumps(r, ensure_ascii=False) + '\n' for r in ROWS).encode()
ENDS  = [i + 1 for i, b in enumerate(WHOLE) if b == 10]

@pytest.mark.parametrize('cut', range(len(WHOLE) + 1))
def test_a_file_cut_at_any_byte(tmp_path, cut):
    "Every reader sees the same rows, and the next append goes on from them"
    path, want = tmp_path/'rows.jsonl', ROWS[:sum(cut >= e - 1 for e in ENDS)] # a row that lacks only its newline is whole
    path.write_bytes(WHOLE[:cut])
    tail = Tail(path)
    assert read_jsonl(path) == [r for _, r in each_row(path)] == tail.rows() == want and keep_rows(path, 99) == len(want)
    torn = cut not in (0, *ENDS, *(e - 1 for e in ENDS))
    assert bool(tail.torn) == torn
    append_jsonl(path, dict(step=9))
    assert read_jsonl(path) == Tail(path).rows() == [*want, dict(step=9)]
    assert [n for n, _ in each_row(path)] == list(range(1, len(want) + 2))

@pytest.mark.parametrize('size', [1, 2, 5, 1000])
def test_a_tail_sees_each_row_once(tmp_path, size):
    "A file that grows by any pieces gives its rows in order, each once, with its line number"
    path, seen = tmp_path/'rows.jsonl', []
    tail = Tail(path)
    for at in range(0, len(WHOLE), size):
        with open(path, 'ab') as f: f.write(WHOLE[at:at + size])
        seen += tail.new()
    assert seen == list(enumerate(ROWS, 1)) and tail.new() == []

def test_a_tail_follows_a_resume(tmp_path):
    path = tmp_path/'rows.jsonl'
    write_jsonl(path, ROWS)
    tail = Tail(path)
    assert tail.rows() == ROWS and not tail.restarted
    assert keep_rows(path, 1) == 3
    append_jsonl(path, dict(step=2, again=True))
    assert tail.rows() == [ROWS[0], dict(step=2, again=True)] and tail.restarted

@pytest.mark.parametrize('line', ['nonsense', '[1]', '3', '\x00\x00', '['*100_000, '{"a": 1}}'])
def test_a_line_that_is_no_row(tmp_path, line):
    "It has a number, and is refused or left out by every reader alike"
    path, said = tmp_path/'rows.jsonl', []
    path.write_text(f'{{"a": 1}}\n{line}\n{{"a": 3}}\n')
    for read in (read_jsonl, lambda p: list(each_row(p)), lambda p: Tail(p).new()):
        with pytest.raises(DataError, match='line 2: not a JSON object'): read(path)
    bad = lambda n, why: said.append(n)
    assert list(each_row(path, bad)) == Tail(path).new(bad) == [(1, {'a': 1}), (3, {'a': 3})] and said == [2, 2]

def test_a_killed_writer_leaves_whole_rows(tmp_path):
    path = tmp_path/'rows.jsonl'
    code = ('import sys\nfrom welllog_ocr.files import append_jsonl\n'
            'for i in range(10**6): append_jsonl(sys.argv[1], dict(i=i, text="x"*3000)); print(i, flush=True)')
    for stop in (1, 7, 20):
        p = subprocess.Popen([sys.executable, '-c', code, str(path)], stdout=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
        for _ in range(stop): p.stdout.readline()
        p.send_signal(signal.SIGKILL), p.wait()
        n = len(read_jsonl(path))
        assert n >= stop
        with open(path, 'ab') as f: f.write(b'{"i": 1, "te') # as a machine that vanished leaves it
        append_jsonl(path, dict(i=-1))
        assert len(read_jsonl(path)) == n + 1

def test_a_full_disk_leaves_no_half_row(tmp_path, monkeypatch):
    path = tmp_path/'rows.jsonl'
    append_jsonl(path, dict(a=1))
    def full(fd): raise OSError(28, 'No space left on device')
    for keep in (False, True):
        monkeypatch.setattr(os, 'fsync', full)
        with pytest.raises(OSError, match='No space'): append_jsonl(path, dict(a=2), sync=True, keep_torn=keep)
        monkeypatch.undo()
        assert path.read_bytes() == b'{"a": 1}\n'
    with pytest.raises(OSError): write_atomic(tmp_path/'none'/'x', 'a')
    assert [p.name for p in tmp_path.iterdir()] == ['rows.jsonl']

# ---- the lock

TAKE = '''
import os, sys, time
from welllog_ocr.core import SetupError
from welllog_ocr.files import locked
try:
    with locked(sys.argv[1], lambda who: SetupError(f'taken by {who.get("pid")}'), remove=sys.argv[3] == 'remove') as lock:
        lock.note(pid=os.getpid())
        fd = os.open(sys.argv[2], os.O_CREAT | os.O_EXCL) # a second one inside would fail here
        print('in', flush=True)
        sys.stdin.read()
        os.close(fd), os.unlink(sys.argv[2])
except SetupError as e: print(e, flush=True)
'''

def taker(path, mode='keep'):
    return subprocess.Popen([sys.executable, '-c', TAKE, str(path), str(path.with_name('inside')), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})

@pytest.mark.parametrize('mode', ['keep', 'remove'])
def test_a_race_has_one_winner(tmp_path, mode):
    path = tmp_path/'lock'
    all_ = [taker(path, mode) for _ in range(6)]
    said = [p.stdout.readline().strip() for p in all_]
    assert sorted(s.split()[0] for s in said) == ['in'] + ['taken']*5
    winner = all_[said.index('in')]
    assert is_locked(path) and lock_owner(path) == dict(pid=winner.pid)
    assert all(s in ('in', f'taken by {winner.pid}', 'taken by None') for s in said) # None: before the winner wrote its name
    for p in all_: assert not p.communicate('')[1]
    assert not is_locked(path) and path.exists() == (mode == 'keep')

def test_a_lock_ends_with_its_process(tmp_path):
    p = taker(tmp_path/'lock')
    assert p.stdout.readline().strip() == 'in'
    p.kill(), p.communicate()
    assert not is_locked(tmp_path/'lock')
    with locked(tmp_path/'lock', lambda who: SetupError('taken')) as lock: assert lock.owner == dict(pid=p.pid) # who was here last

def test_asking_does_not_disturb_a_taker(tmp_path):
    "A view that asks all the time keeps no training from starting"
    asker = subprocess.Popen([sys.executable, '-c', f'from welllog_ocr.files import is_locked\nprint("on", flush=True)\nwhile True: is_locked("{tmp_path}/lock")'],
                             stdout=subprocess.PIPE, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    try:
        asker.stdout.readline()
        for _ in range(300):
            with locked(tmp_path/'lock', lambda who: SetupError('taken')): pass
    finally: asker.kill(), asker.communicate()

def test_waiting_for_a_lock(tmp_path):
    p = taker(tmp_path/'lock')
    assert p.stdout.readline().strip() == 'in'
    p.stdin.close()
    with locked(tmp_path/'lock'): assert not (tmp_path/'inside').exists()
    p.wait()

# ---- the places that read and continue such files

def torn_file(path, rows, end):
    write_jsonl(path, rows)
    with open(path, 'ab') as f: f.write(end)

@pytest.mark.parametrize('end, whole', [(b'', 2), (b'{"step": 3, "split": "tr', 2), (b'\xc2', 2), (b'{"step": 3, "split": "train", "loss": 1, "event": "crashed", "leg": 9}', 3)])
def test_every_place_sees_the_same_rows(tmp_path, end, whole):
    "A file with a torn end has two rows, one whose last row lacks only its newline has three: for all who follow, count, show or continue it"
    from welllog_ocr.run.cost import sessions
    from welllog_ocr.run.state import cut_back
    from welllog_ocr.run.tracker import Tracker, follow
    from welllog_ocr.runpod import run_status
    rows = [dict(step=i, split='train', loss=1., event='crashed', leg=i) for i in (1, 2)]
    for name in ('metrics', 'events', 'cost'): torn_file(tmp_path/f'{name}.jsonl', rows, end)
    class Count(Tracker):
        rows = events = 0
        def row(self, row): self.rows += 1
        def event(self, event): self.events += 1
    follow(tmp_path, count := Count(), pause=0)
    assert (count.rows, count.events, len(sessions(tmp_path))) == (whole, whole, whole)
    assert (len(run_status(tmp_path)['metrics']), len(run_status(tmp_path)['events'])) == (whole, whole)
    assert cut_back(tmp_path, 2, 9) == whole - 2 and (tmp_path/'metrics.jsonl').read_bytes().endswith(b'}\n')

@pytest.mark.parametrize('end, whole', [(b'', 1), (b'{"file": "b.png", "pa', 1), (b'{"file": "b.png", "page": 0, "model": "m"}', 2)])
def test_a_prediction_goes_on_behind_a_torn_row(tmp_path, end, whole):
    from welllog_ocr.read.export import open_results
    torn_file(tmp_path/'r.jsonl', [dict(file='a.png', page=0, model='m')], end)
    with open_results(tmp_path/'r.jsonl', dict(model='m')) as (done, add):
        assert len(done) == whole
        add(dict(file='c.png', page=0, model='m'))
    assert len(read_jsonl(tmp_path/'r.jsonl')) == whole + 1

@pytest.mark.parametrize('end, whole', [(b'', 1), (b'{"key": "00000000000000aa", "sta', 1), (b'{"key": "00000000000000aa", "state": "ok"}', 2)])
def test_a_review_goes_on_behind_a_torn_row(tmp_path, end, whole):
    from welllog_ocr.review.log import Review
    torn_file(tmp_path/'r.jsonl', [dict(key='0'*16, state='ok')], end)
    review = Review(tmp_path/'r.jsonl')
    assert len(review.marks) == whole
    review.mark('1'*16, 'ok')
    assert len(Review(tmp_path/'r.jsonl').marks) == whole + 1 and end in (tmp_path/'r.jsonl').read_bytes() # nothing that was said is deleted

def test_half_a_character_of_a_name_comes_back(tmp_path):
    path, row = tmp_path/'r.jsonl', dict(id=os.fsdecode(b'M\xfchle.png'))
    write_jsonl(path, [row]), append_jsonl(path, row), write_atomic(tmp_path/'r.md', row['id'])
    assert read_jsonl(path) == [row, row] and (tmp_path/'r.md').read_text() == r'M\udcfchle.png'
