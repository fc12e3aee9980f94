"""editdistance, rapidfuzz's alignment and jiwer, held against one another."""
import editdistance
import jiwer
import pytest
from hypothesis import given, settings, strategies as st

from welllog_ocr.metrics import align, cer, confusions, normalise, score, wer

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
    got, r, p = score(refs, preds), [normalise(t) for t in refs], [normalise(t) for t in preds]
    assert got['cer'] == pytest.approx(jiwer.cer(r, p)) and got['wer'] == pytest.approx(jiwer.wer(r, p))
    assert got['edits'] == sum(confusions(refs, preds).values())
    assert got['exact'] == sum(a == b for a, b in zip(r, p))/len(pairs)

@settings(max_examples=300, deadline=None)
@given(text, text)
def test_forgiving_never_counts_more_than_strict_for_equal_texts(ref, pred):
    assert normalise(normalise(ref)) == normalise(ref)
    if normalise(ref, 'strict') == normalise(pred, 'strict'): assert cer(ref, pred) == 0
