"""The page of a run and the comparison of two: what must be on them, and what must not."""
import re

import pytest
from hostile import HOSTILE, Seen
from views import make_run, picture, run_views, small_views

from welllog_ocr.run.report import report

PLAIN = [f'COMPANY No. {i}' for i in range(len(HOSTILE))]

def test_hostile_texts_are_only_text(tmp_path):
    "No tag and no attribute that a page of plain texts has not got; nothing to ask of anyone"
    (tmp_path/'evil').mkdir(), (tmp_path/'plain').mkdir()
    evil, plain = (run_views(tmp_path/name, texts) for name, texts in (('evil', HOSTILE), ('plain', PLAIN)))
    known = {t for pair in plain.values() for shown in pair for t in Seen(shown).tags} | {'br'} # a label may have lines
    names = {n for pair in plain.values() for shown in pair for n in Seen(shown).names}
    for what, pair in evil.items():
        for shown in pair:
            seen = Seen(shown)
            assert set(seen.tags) <= known and set(seen.names) <= names | {'data-loss'}, what
            assert not [v for _, n, v in seen.values if n in ('src', 'href') and not re.match('data:image/|#', v)]
    for what, shown in small_views().items():
        seen = Seen(shown)
        assert not [n for n in seen.names if n.startswith('on')] and not set(seen.tags) & {'script', 'iframe', 'object', 'embed', 'form', 'meta', 'base', 'link'}, what

def test_the_page_of_a_run(tmp_path):
    "It answers the questions in their order, has small pictures, and no secrets"
    run = make_run(tmp_path/'run', texts=PLAIN*4, hub_note='hf_' + 'a'*34)
    (page := report(run, picture)).write()
    text = (run/'report.html').read_text()
    at = [text.index(f'<h2>{title}') for title in ('Metrics', 'Curves', 'Before and after', 'Worst lines', 'What is taken for what', 'Settings', 'Time and cost')]
    assert at == sorted(at) and 'CER in %' in text and 'start: ' in text and 'best: ' in text and '<polygon' in text
    assert 'trust' in page._repr_html_() and 'Trust HTML' in text and '<script' not in page._repr_html_() and 'hf_aaa' not in text
    assert len(text) < 2_000_000 and '\\' not in str(page) and f'| all | {len(PLAIN)*4} |' in (run/'report.md').read_text()

@pytest.mark.parametrize('lost', ['metrics.jsonl', 'cost.jsonl', 'events.jsonl'])
def test_a_run_that_lacks_a_file(tmp_path, lost):
    run = make_run(tmp_path/'run', texts=PLAIN)
    (run/lost).unlink()
    if lost == 'events.jsonl': (run/lost).write_text('')
    assert '<h2>Metrics' in report(run, picture).html()
