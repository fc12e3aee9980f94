"""What others wrote is shown as text, and a page asks nothing of anyone."""
import re

import pytest
from hostile import HOSTILE, Seen

from welllog_ocr import render
from welllog_ocr.render import Raw, esc, esc_md, html_block, html_image, html_page, html_table, md_table, text_table, visible

@pytest.mark.parametrize('text', HOSTILE)
def test_hostile_text_is_text(text):
    plain = Seen(html_page('x', '<p>y</p>' + html_table(['a'], [['b']]) + html_image(b'', 'z')))
    seen  = Seen(html_page(text, f'<p>{esc(text)}</p>' + html_table([text], [[text]]) + html_image(b'', text)))
    assert seen.tags == plain.tags and seen.names == plain.names
    table = md_table([text, 'n'], [[text, 1]], 'lr').split('\n')
    assert len(table) == 3 and len({len(re.sub(r'\\.', '', l).split('|')) for l in table}) == 1
    assert not re.search(r'(?<!\\)[<`\[]', esc_md(text))
    lines = text_table([text], [[text]])
    assert lines.count('\n') == 1 and not [c for c in lines.replace('\n', '') if ord(c) < 32 or c in '\u202e\u200b\u2066']

@pytest.mark.parametrize('script', ['', 'document.title = "x"'])
def test_a_page_loads_nothing(script):
    page = html_page('A page', '<h1>x</h1>' + html_image(b'png', 'x'), '.wl h1 {color: var(--bad)}', script)
    for _, _, value in Seen(page).values: assert not re.match(r'(https?:)?//', value or '')
    assert not re.search(r'@import|url\(|src="(?!data:)', page)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-") and 'unsafe' not in policy
    assert ('script-src' in policy) == bool(script) and "form-action 'none'" in policy

def test_both_themes_have_the_same_colours():
    assert render.LIGHT.keys() == render.DARK.keys()
    used = set(re.findall(r'var\(--([\w-]+)\)', html_block('')))
    assert used <= {k.replace('_', '-') for k in render.LIGHT}
    for when in ('prefers-color-scheme: dark', '[data-jp-theme-light="false"]', '[data-jp-theme-light="true"]', '@media print'): assert when in render.STYLE

def test_markup_made_on_purpose_stays():
    assert '<td><b>x</b></td>' in html_table(['a'], [[Raw('<b>x</b>')]]) and '| **x** |' in md_table(['a'], [[Raw('**x**')]])
    assert visible('a\tb\nc') == 'a b c'
