"""editdistance, rapidfuzz's alignment and jiwer, held against one another; and a metric that is added to the table."""
import editdistance
import jiwer
import pytest
from hypothesis import given, settings, strategies as st

from runs import events, tiny

from welllog_ocr.checkpoint import checkpoints
from welllog_ocr.compare import compare, curves
from welllog_ocr.config import TrainingConfig
from welllog_ocr.core import ConfigError
from welllog_ocr.eval.predictions import evaluate
from welllog_ocr.files import read_jsonl
from welllog_ocr.metrics import METRICS, Metric, align, cer, confusions, normalise, summarise, wer
from welllog_ocr.run.folder import learning_curves
from welllog_ocr.train import train

text = st.text(st.sampled_from('AB019.,\'" -–°½é e\u0301\t'), max_size=14)

@settings(max_examples=1000, deadline=None)
@given(text, text)
def test_alignment_is_as_short_as_the_distance_and_gives_both_texts_back(ref, pred):
    ops = align(ref, pred)
    assert ''.join(r for _, r, _ in ops) == ref and ''.join(p for _, _, p in ops) == pred
    assert sum(max(len(r), len(p)) for op, r, p in ops if op != 'equal') == editdistance.eval(ref, pred)

@settings(max_examples=1000, deadline=None)
@given(text, text)
def test_rates_are_those_of_jiwer(ref, pred):
    r, p = normalise(ref), normalise(pred)
    if not r: assert cer(ref, pred) == wer(ref, pred) == bool(p)
    else:
        assert cer(ref, pred) == pytest.approx(jiwer.cer(r, p))
        assert wer(ref, pred) == pytest.approx(jiwer.wer(r, p))

@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(text.filter(lambda t: t.strip()), text), min_size=1, max_size=6))
def test_corpus_figures_are_those_of_jiwer(pairs):
    refs, preds = zip(*pairs)
    got, r, p = summarise([dict(reference=r, prediction=p) for r, p in pairs]), [normalise(t) for t in refs], [normalise(t) for t in preds]
    assert got['cer'] == pytest.approx(jiwer.cer(r, p)) and got['wer'] == pytest.approx(jiwer.wer(r, p))
    assert round(got['cer']*sum(map(len, r))) == sum(confusions(refs, preds).values())
    assert got['exact'] == sum(a == b for a, b in zip(r, p))/len(pairs)

@settings(max_examples=300, deadline=None)
@given(text, text)
def test_forgiving_never_counts_more_than_strict_for_equal_texts(ref, pred):
    assert normalise(normalise(ref)) == normalise(ref)
    if normalise(ref, 'strict') == normalise(pred, 'strict'): assert cer(ref, pred) == 0

def test_a_new_metric_is_one_row(home, monkeypatch):
    "It is in metrics.jsonl, report, compare and curves, and best/, early stopping and the checkpoints kept follow it upwards"
    with pytest.raises(ConfigError, match='metric_for_best_model'): TrainingConfig(metric_for_best_model='read')
    lengths = iter((0, 40, 30, 20, 10, 5)) # value of each evaluation: the second is the best
    parts = lambda r: (r['read'], 100)
    monkeypatch.setitem(METRICS, 'read', Metric(parts, 'letters read', higher_is_better=True))
    real = evaluate.__globals__['sample_row']
    now = []
    def counted(*args):
        row = real(*args)
        return row | dict(read=now[-1])
    def evaluated(*args, **more):
        now.append(next(lengths))
        return evaluate(*args, **more)
    monkeypatch.setitem(evaluate.__globals__, 'sample_row', counted)
    monkeypatch.setattr('welllog_ocr.run.callbacks.evaluate', evaluated)
    cfg = tiny(home, metric_for_best_model='read', max_steps=24, eval_steps=4, save_steps=4, max_checkpoints=2, early_stopping_patience=2, early_stopping_min_evals=0)
    folder = train(cfg)
    rows = [r for r in read_jsonl(folder/'metrics.jsonl') if r['split'] == 'eval']
    assert [(r['step'], r['read']) for r in rows] == [(0, 0.), (4, .4), (8, .3), (12, .2)] # stopped after two that were no better
    assert [e['step'] for e in events(folder, 'best')] == [0, 4]
    assert set(checkpoints(folder/'checkpoints')) == {4, 8, 12} # the first and best, and the two newest
    assert 'letters read before' in (folder/'report.md').read_text() and '40.00%' in (folder/'report.md').read_text()
    lengths = iter((0, 20, 10, 5))
    other = train(cfg.replace(experiment_name='y'))
    c = compare([folder, other])
    assert c.results[0].step == 4 and c.order == [0, 1] and '40.00%' in c.text() and 'read against x' in c.text()
    assert compare([other, folder], ['read']).order == [1, 0]
    assert 'letters read in %' in curves(c) and 'letters read in %' in (folder/'report.html').read_text()
    assert any('letters read' in ' '.join(l.get_label() for l in ax.lines) for ax in learning_curves(rows).axes)
