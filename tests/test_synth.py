"""Properties of drawn lines, over many of them."""
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from welllog_ocr.core import rng_for
from welllog_ocr.draw.wear import augment, bend, degrade_line
from welllog_ocr.draw.faces import fonts, writable
from welllog_ocr.draw.line import SynthLines, draw_line, plan_line
from PIL import Image

@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9))
def test_a_line_is_what_its_plan_says(i):
    p = plan_line('property', i)
    img = draw_line(p)
    assert img.size == p.size and img.mode == 'L'
    assert p.text == ' '.join(p.text.split()) and p.text
    assert p.text == ' '.join(piece.text for piece in p.pieces)
    for piece in p.pieces: assert writable(piece.face, piece.text)
    x = np.asarray(img)
    assert x.std() > 5, 'an empty sheet'

def test_all_ways_of_writing_and_all_characters_come_up():
    plans = [plan_line('cover', i) for i in range(3000)]
    style = [p.style for p in plans]
    assert all(style.count(m) > 200 for m in ('printed', 'typed', 'handwritten'))
    seen = set(''.join(p.text for p in plans))
    assert set('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,-/#&\'"@:°') <= seen
    assert {f.name for p in plans for piece in p.pieces for f in [piece.face]} == {f.name for f in fonts()}

def test_a_line_does_not_depend_on_what_was_drawn_before():
    backwards = [s.image.tobytes() for s in list(SynthLines(8, 'order'))[::-1]][::-1]
    assert backwards == [s.image.tobytes() for s in SynthLines(8, 'order')]
    assert [s.digest for s in SynthLines(3, 'order', start=5)] == [s.digest for s in SynthLines(8, 'order')][5:]

@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.integers(1, 400), st.floats(0, 1.5), st.integers(0, 99))
def test_degradation_takes_any_image(h, w, strength, seed):
    x = rng_for('noise', seed).integers(0, 256, (h, w)).astype(np.uint8)
    assert degrade_line(x, rng_for(seed), strength).shape == x.shape
    assert bend(x, rng_for(seed), strength).dtype == np.uint8
    assert augment(Image.fromarray(x), rng_for(seed), strength).mode == 'L'

def test_augmentation_of_strength_zero_is_none():
    img = SynthLines(1, 'zero')[0].image
    assert augment(img, rng_for(0), 0).tobytes() == img.tobytes()

def test_an_untrained_recogniser_reads_most_of_them():
    "A person can read these lines, so a general recogniser should read most of the characters"
    pytest.importorskip('rapidocr')
    from welllog_ocr.eval.predictions import evaluate
    from welllog_ocr.metrics import summarise
    from welllog_ocr.models.ctc import CTCRecogniser
    rows = evaluate(CTCRecogniser.from_pretrained(), list(SynthLines(120, 'legible')))
    assert summarise(rows)['cer'] < 0.35
