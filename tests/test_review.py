"""The review file under crashes, several writers and strange content; what a training makes of it."""
import itertools, json, multiprocessing, os, random, signal, time
from collections import Counter

import pytest
from conftest import share
from hypothesis import given, settings, strategies as st

from welllog_ocr.core import DataError, SetupError, stable_hash
from welllog_ocr.files import read_jsonl
from welllog_ocr.data.sample import Sample, fingerprint
from welllog_ocr.review.log import Changes, Review, apply_review, review_text
from welllog_ocr.review.session import ReviewSession
from welllog_ocr.review.values import ValueReview

KEYS = [f'{i:016x}' for i in range(8)]

def states(review): return {k: (m.state, m.text) for k, m in review.marks.items()}

def _write_many(path, who, n):
    review = Review(path, who)
    for i in range(n): review.mark(KEYS[i % 8], 'fixed', f'{who} {i}', id=who)

def test_several_writers_lose_nothing(tmp_path):
    path, context = tmp_path/'review.jsonl', multiprocessing.get_context('fork')
    work = [context.Process(target=_write_many, args=(path, f'w{k}', 40)) for k in range(4)]
    for w in work: w.start()
    for w in work: w.join()
    assert [w.exitcode for w in work] == [0]*4
    rows = read_jsonl(path)
    assert len(rows) == 160 and len({r['line'] for r in rows}) == 160
    assert Review(path).complaints == []
    for k in range(4): assert [r['text'] for r in rows if r['who'] == f'w{k}'] == [f'w{k} {i}' for i in range(40)]

def turns(k):
    "What a reviewer of values does, without end: one is corrected, or three of a page in one go, or the last is taken back"
    rng = random.Random(k)
    for n in itertools.count():
        keys = rng.sample(KEYS, rng.choice([1, 1, 3]))
        yield [] if rng.random() < .25 else [dict(key=key, state='fixed', text=f'{k} {n} {key}') for key in keys]

def review_until_killed(path, k, done):
    try:
        review = ValueReview(path, 'x')
        for marks in turns(k):
            review.mark_all(marks) if marks else review.undo_all()
            os.write(done, b'.')
    finally: os._exit(1)

def after(said, marks): return [*said, marks] if marks else said[:-1]
def standing(said): return {m['key']: (m['state'], m['text']) for marks in said for m in marks}

@share(6, 200)
def test_killed_at_any_moment(tmp_path, n, reliability):
    "What a reviewer was told is written is there, undone when it was undone; what was under way is there as a whole, or not at all"
    path, said = tmp_path/'review.jsonl', []
    for k in range(n):
        (ready, done), rng = os.pipe(), random.Random(f'kill {k}')
        if not (pid := os.fork()): review_until_killed(path, k, done)
        os.close(done)
        told = sum(len(os.read(ready, 1)) for _ in range(rng.randint(1, 12)))
        time.sleep(rng.uniform(0, .004))
        os.kill(pid, signal.SIGKILL), os.waitpid(pid, 0)
        told += sum(map(len, iter(lambda: os.read(ready, 4096), b''))) # and what was said before the end
        os.close(ready)
        what = turns(k)
        for marks in itertools.islice(what, told): said = after(said, marks)
        found = ValueReview(path, 'y')
        if states(found) != standing(said): said = after(said, next(what))
        assert states(found) == standing(said) and not found.complaints
        assert +found.states == Counter(m.state for m in found.marks.values())
    reliability('SIGKILL of who reviews values, while one is judged, a page in one go, or an undo', n, n, 'nothing lost, nothing half')

def test_cut_anywhere(tmp_path):
    "A file cut at any byte opens, tells, and goes on"
    path = tmp_path/'review.jsonl'
    for i in range(3): Review(path, 'x').mark(KEYS[i], 'fixed', f'½ {i}')
    whole = path.read_bytes()
    ends = [i + 1 for i, b in enumerate(whole) if b == 10]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        r = Review(path, 'x')
        there = sum(cut >= e - 1 for e in ends) # a line that lacks only its newline is whole
        assert len(r.marks) == there
        assert bool(r.complaints) == (cut not in ends and cut + 1 not in ends and cut > 0), cut
        r.mark(KEYS[7], 'dropped')
        again = Review(path)
        assert states(again) == states(r) and len(again.marks) == there + 1 and len(again.complaints) == len(r.complaints)
        assert whole[:cut] in path.read_bytes() # nothing that was there is gone

@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.sampled_from(['ok', 'fixed', 'dropped', 'unsure', 'todo', 'undo'])), max_size=25))
def test_two_sessions_against_a_model(tmp_path_factory, plan):
    "Any interleaving of two people and their undos: the last word that was not taken back holds, for both, and for who opens the file later"
    path = tmp_path_factory.mktemp('r')/'review.jsonl'
    people, said = [Review(path, 'anna'), Review(path, 'ben')], []
    for n, (who, k, state) in enumerate(plan):
        if state == 'undo':
            got, mine = people[who].undo(), [e for e in said if e[0] == who]
            assert (got is None) == (not mine)
            if mine: said.remove(mine[-1])
        else:
            people[who].mark(KEYS[k], state, f'text {n}' if state == 'fixed' else '')
            said.append((who, k, state, f'text {n}' if state == 'fixed' else '', n)) # the same may be said twice, and the later one is taken back
    want = {KEYS[k]: (state, text) for _, k, state, text, _ in said}
    for p in people: p.pull()
    assert states(people[0]) == states(people[1]) == states(Review(path)) == want

@pytest.mark.parametrize('line, why', [('{"key": "0000000000000001", "state": "gone"}', 'unknown'), ('{"key": 3}', 'should be text'), ('nonsense', 'not a JSON object'), ('[1]', 'not a JSON object'), ('{"undo": "x"}', 'not there'), ('{"undo": ["x"]}', 'not there'),
    ('{"key": "0000000000000001", "state": "fixed", "text": ""}', 'empty'), ('\x00\x00\x00', 'not a JSON object'), ('['*100_000, 'not a JSON object'), ('{"key": "0000000000000001", "state": "fixed", "text": "\\ud800"}', 'half a character')])
def test_a_strange_line_harms_nobody(tmp_path, line, why):
    path = tmp_path/'review.jsonl'
    Review(path, 'x').mark(KEYS[0], 'ok')
    with open(path, 'a') as f: f.write(line + '\n')
    r = Review(path, 'x')
    r.mark(KEYS[1], 'dropped')
    assert states(r) == {KEYS[0]: ('ok', ''), KEYS[1]: ('dropped', '')}
    assert len(r.complaints) == 1 and why in r.complaints[0] and 'line 2' in r.complaints[0]
    assert line in path.read_text()

def test_not_written_is_not_said(tmp_path, monkeypatch):
    r = Review(tmp_path/'review.jsonl', 'x')
    r.mark(KEYS[0], 'ok')
    before = (tmp_path/'review.jsonl').read_bytes()
    def full(fd): raise OSError(28, 'No space left on device')
    with monkeypatch.context() as m:
        m.setattr(os, 'fsync', full)
        with pytest.raises(SetupError, match='not recorded'): r.mark(KEYS[0], 'dropped')
    assert (tmp_path/'review.jsonl').read_bytes() == before
    r.mark(KEYS[1], 'ok')
    assert states(r) == states(Review(tmp_path/'review.jsonl')) == {KEYS[0]: ('ok', ''), KEYS[1]: ('ok', '')}

# ---- the data after it

def sample(i, text): return Sample(f'{i}.png', text, lambda: None, (9, 9), stable_hash([i, text]))

@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(['ok', 'fixed', 'dropped', 'unsure', 'todo']), min_size=1, max_size=12))
def test_counts_add_up(tmp_path_factory, said):
    r, samples = Review(tmp_path_factory.mktemp('r')/'review.jsonl', 'x'), [sample(i, f'KB {i}') for i in range(len(said) + 2)]
    for s, state in zip(samples, said): r.mark(s.digest, state, s.text + '0' if state == 'fixed' else '', s.text, id=s.id)
    after, c = apply_review(samples, r)
    assert (c.fixed, c.dropped, c.ok, c.unsure) == tuple(said.count(s) for s in ('fixed', 'dropped', 'ok', 'unsure'))
    assert len(after) == len(samples) - c.dropped
    assert (fingerprint(after) == fingerprint(samples)) == (c.fixed == c.dropped == 0)
    assert {s.info['text_before_review'] for s in after if s.info} == {s.text for s, state in zip(samples, said) if state == 'fixed'}
    assert all(a.text == b.text or a.digest != b.digest for a in after for b in samples if a.id == b.id)
    assert apply_review(after, r)[1].fixed == 0 # once is enough

def test_three_rounds(tmp_path):
    "Correct, train, look again, correct again: one sample, one history"
    first, path = [sample(0, 'KB 9I2'), sample(1, 'GL 900')], tmp_path/'review.jsonl'
    row = lambda s: dict(id=s.id, digest=s.digest[:16], reference=s.text, prediction='KB 917', loss=1.)
    ReviewSession([row(s) for s in first], Review(path, run='one')).fix(0, 'KB 912')
    second, _ = apply_review(first, Review(path))
    session = ReviewSession([row(s) for s in second], Review(path, run='two'))
    assert (session.mark_of(0).state, session.before(0), session.text(0)) == ('fixed', 'KB 9I2', 'KB 912')
    session.take_prediction(0)
    third, c = apply_review(first, Review(path))
    assert (third[0].text, c.fixed, len({s[0].digest for s in (first, second, third)})) == ('KB 917', 1, 3)
    last = ReviewSession([row(s) for s in third], Review(path, run='three'))
    last.undo(); last.undo()
    assert apply_review(first, Review(path))[0][0].text == 'KB 9I2'

def test_a_sample_that_vanished_is_told(tmp_path):
    r = Review(tmp_path/'review.jsonl', 'x')
    for i in range(3): r.mark(sample(i, 'KB').digest, 'fixed', 'KB 1', id=f'{i}.png')
    assert '2 (1.png, 2.png)' in review_text(r, apply_review([sample(0, 'KB')], r)[1])
    with pytest.raises(DataError, match='none of its 3 marks'): review_text(r, Changes())

def test_training_takes_a_review(home, drawn):
    from runs import tiny
    from welllog_ocr.train import train
    cfg = tiny(home, data_path=str(drawn), synth_share=0., max_steps=2, eval_steps=2, save_steps=2, warmup_steps=0)
    run = train(cfg)
    assert (run/'high_loss.html').read_text().count('<article') == len(read_jsonl(run/'eval'/'step-00000002.jsonl'))
    row, manifest = read_jsonl(run/'eval'/'step-00000002.jsonl')[0], json.loads((run/'run.json').read_text())
    train_row = next(r for r in read_jsonl(run/'data.jsonl') if r['split'] == 'train')
    review = Review(run/'review.jsonl', 'x')
    review.mark(row['digest'], 'dropped', id=row['id'])
    review.mark(train_row['digest'], 'fixed', 'KB 912', id=train_row['id'])
    second = train(cfg.replace(experiment_name='y', review=str(run/'review.jsonl')))
    start = next(e for e in read_jsonl(second/'events.jsonl') if e['event'] == 'start')
    assert any('labels corrected 1, samples dropped 1' in n for n in start['notes'])
    assert json.loads((second/'run.json').read_text())['data_fingerprint'] != manifest['data_fingerprint']
    assert row['id'] not in [r['id'] for r in read_jsonl(second/'eval'/'step-00000002.jsonl')]
    review.mark(train_row['digest'], 'dropped', id=train_row['id'])
    with pytest.raises(DataError, match='was started with other data'): train(cfg.replace(experiment_name='y', review=str(run/'review.jsonl'))) # not another set under the same name
