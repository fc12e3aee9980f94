"""The page of the worst samples: foreign texts stay texts, it fits, it needs nobody."""
import re

import numpy as np
import pytest
from hostile import HOSTILE, foreign
from PIL import Image

from welllog_ocr.inspector import Opened, list_row, worst_table
from welllog_ocr.review.lines import look_html
from welllog_ocr.review.page import card_html, diff_html, diff_words, facts_html, page_html, picture_html, state_html, strip_html, text_html, write_page
from welllog_ocr.review.log import Mark, Review
from welllog_ocr.review.session import ReviewSession

CONTROLS = re.compile('[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]')

def _row(text, other='KB 912'):
    return dict(id=text, digest='0'*16, reference=text, prediction=other, loss=1., cer=.5, wer=.5, confidence=.5, length_ratio=1., repetition=3, unread=text, style=text, kind=text, group=text + '.', info={text[:30]: text},
                losses=[1.]*(len(text) + 1), scores=[.5]*len(other))

def _mark(text): return Mark('0'*16, 'fixed', text, text, text, text, text, text, text)

def _sees(page, text):
    "Is the text there, as a text?"
    bare = re.sub(r'[\s\ufffd]', '', CONTROLS.sub('', text))[:60]
    return bare in re.sub(r'[\s\ufffd⏎␣\u00a0]', '', ''.join(page.texts))

def _fail(*_): raise OSError('<img src=x onerror=alert(1)>')

def test_an_empty_piece_is_the_end_only_at_the_end():
    strip = strip_html(dict(reference='½', prediction='', losses=[3., 2., 1.], pieces=['', '½', '']))
    assert 'a part of a sign 3.0, “½” 2.0, the end 1.0' in strip and strip.count('∎') == 1 and strip.count('‥') == 1

def test_there_are_sixty(): assert len(HOSTILE) >= 60 and len(set(HOSTILE)) == len(HOSTILE)

@pytest.mark.parametrize('text', HOSTILE, ids=lambda t: ascii(t)[:24])
def test_hostile_texts_stay_texts(text, tmp_path):
    row, swapped, tokens = _row(text), _row('KB 912', text), _row('KB', text) | dict(losses=[1., 2.], pieces=[text, text], scores=[])
    img = lambda *_: Image.new('L', (60, 20), 255)
    session = ReviewSession([row], Review(tmp_path/'r.jsonl'))
    parts = dict(text=text_html(text), diff=diff_html(text, 'KB'), diff2=diff_html('KB', text), words=f'<p>{text_html(diff_words(text, ""))}</p>', strip=strip_html(row), strip2=strip_html(tokens), strip3=strip_html(swapped), facts=facts_html(row),
                 state=state_html(_mark(text)), picture=picture_html(img, text), lost=picture_html(_fail, text), card=card_html(1, row, img, _mark(text)), card2=card_html(1, swapped, _fail), look=look_html(session, 0),
                 page=page_html([row, swapped, tokens], img, text, [text], lambda r: _mark(text)))
    for name, part in parts.items():
        out, seen = foreign(part)
        assert not out, (name, out)
        assert not CONTROLS.search(part), name
        if name in ('text', 'diff', 'diff2', 'card', 'page'): assert _sees(seen, text), name
    assert sum(t == 'script' for t in seen.tags) == 1 and sum(t == 'style' for t in seen.tags) == 1 # ours
    assert not CONTROLS.search(worst_table(Opened(text, session, None)).replace('\n', '')) and not CONTROLS.search(''.join(list_row(session, 0)))

def test_the_judge_can_see():
    "A renderer that forgets to escape is caught"
    assert foreign('<p>' + HOSTILE[6] + '</p>')[0] and foreign('<p title="' + HOSTILE[13] + '"></p>')[0] and foreign('<p>a<!-- b --></p>')[0]
    caught = [t for t in HOSTILE if foreign(f'<p title="{t}">{t}</p>')[0] or 'script' in foreign(t)[1].tags]
    assert len(caught) > 40

def test_two_hundred_lines_fit(tmp_path):
    "Photographs of noise are the worst that can come"
    rng, text = np.random.default_rng(0), 'COMPANY SKELLY OIL COMPANY  WELL STATE "O" NO. 1   '*3
    rows = [_row(text, text.replace('O', '0')) | dict(id=f'{i:06}.png', unread='', losses=rng.random(len(text) + 1).tolist()) for i in range(260)]
    grey = Image.fromarray(rng.integers(0, 255, (120, 1800), dtype=np.uint8))
    write_page(tmp_path/'p.html', rows, lambda r: grey, 'worst')
    page = (tmp_path/'p.html').read_text()
    assert page.count('<article') == 200 and 'The first 200 of 260' in page
    assert (tmp_path/'p.html').stat().st_size < 10_000_000

def test_no_address_outside():
    page = page_html([_row('KB 912')], lambda r: Image.new('1', (60, 20)), 'x')
    assert not re.search(r'https?:|url\(|@import|src="(?!data:)|href', page)
    assert "default-src 'none'" in page and 'unsafe' not in page

def test_the_policy_allows_what_is_in_the_page():
    import base64, hashlib
    page = page_html([], None, 'x')
    for tag in ('script', 'style'):
        body = re.search(f'<{tag}>(.*?)</{tag}>', page, re.S)[1]
        assert f"{tag}-src 'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" in page
