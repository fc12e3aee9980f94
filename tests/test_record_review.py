"""Records reviewed in a browser: what is done is written down, hostile texts stay texts, and no key reaches the notebook."""
import json, time, urllib.request

import pytest
from hostile import HOSTILE
from lab import ARGS, CHROMIUM, SLOW, needs_browser, start_lab
from test_browser import CONTRAST
from widget_page import WidgetPage

from welllog_ocr.files import read_jsonl, sha256_file

pytestmark = needs_browser
FIELDS = 'company well field county state location api elev_kb elev_gl permanent_datum'.split()

def write_rows(path, rows): path.write_text(''.join(json.dumps(r) + '\n' for r in rows)) # escaped: half a character too

def make_results(folder, texts=('GULF OIL', '9I2', 'PECOS'), **more):
    "Results of a page that exists and of one whose scan is gone"
    from PIL import Image, ImageDraw
    img = Image.new('L', (900, 1200), 255)
    box = lambda n: [[95, 48 + 18*n], [300, 48 + 18*n], [300, 65 + 18*n], [95, 65 + 18*n]]
    for n, t in enumerate(texts): ImageDraw.Draw(img).text((100, 50 + 18*n), ascii(t)[:30], 0)
    img.save(folder/'a.png')
    value = lambda n, t: dict(text=t, value=t, unit='', box=box(n), lines=[], flags=[], how='cell', confidence=.3 + .5*n/len(texts)) | {k: f(t) for k, f in more.items()}
    names = [*FIELDS, *(f'f{i}' for i in range(len(texts)))]
    record = dict(form='', fields={k: value(n, t) for n, (k, t) in enumerate(zip(names, texts))}, runs=[dict(date=value(len(texts), '1-1-61'))], other=[])
    row = dict(file='a.png', page=0, sha256=sha256_file(folder/'a.png'), kind='page', region=[0, 1200], turns=0, text='', lines=[], record=record)
    sure = {k: v | dict(confidence=.99) for k, v in record['fields'].items()}
    write_rows(folder/'found.jsonl', [row, row | dict(file='gone.png', sha256='0'*64, record=record | dict(fields=sure, runs=[]))])
    return folder/'found.jsonl'

def opened(found, read=None, who='anna'):
    from welllog_ocr.read.reviewed import Scans, open_review_of
    from welllog_ocr.review.reviewer import RecordReviewer
    return RecordReviewer(open_review_of(found, who=who), Scans(found), read)

@pytest.fixture(scope='module')
def browser():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        found = p.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
        yield found
        found.close()

def test_a_page_is_put_right(browser, tmp_path):
    "Keys and mouse: take, type, blank, draw, all of the page, undo; each is on the disk at once"
    w = opened(make_results(tmp_path), lambda img: f'{img.width} wide')
    shown = WidgetPage(browser, w, tmp_path)
    page, marks = shown.page, lambda: [r.get('state', 'undo') for r in read_jsonl(tmp_path/'found.review.jsonl', missing_ok=True)]
    assert page.locator('.reviewer .row').count() == 4 and page.locator('.reviewer .box').count() == 4
    page.keyboard.press('b'), shown.says('blank: company')
    page.locator('.reviewer .row').nth(1).click(), shown.says('well')
    page.keyboard.press('e'), page.keyboard.type('912'), page.keyboard.press('Enter'), shown.says('fixed: well')
    assert marks() == ['blank', 'fixed']
    page.keyboard.press('m')
    r = page.locator('.reviewer .sheet').bounding_box()
    page.mouse.move(r['x'] + .1*r['width'], r['y'] + .5*r['height']), page.mouse.down(), page.mouse.move(r['x'] + .3*r['width'], r['y'] + .55*r['height']), page.mouse.up()
    shown.says(' wide; name its field')
    page.keyboard.type('elev_g'), page.keyboard.press('Enter'), page.keyboard.type('900'), page.keyboard.press('Enter'), shown.says('added: elev gl')
    page.keyboard.press('Shift+A'), shown.says('values are right')
    assert w.session.counts()['added'] == 1 and [w.session.text(v) for v in w.session.page(0)][:2] == ['', '912']
    page.keyboard.press('u'), shown.says('undone: 2 values')
    page.keyboard.press('u'), shown.says('undone: ')
    assert page.locator('.reviewer .row').count() == 4
    page.keyboard.press(']'), shown.says('gone.png')
    assert 'no such file' in page.locator('.reviewer .frame .lost').inner_text()
    page.keyboard.press('Shift+A'), shown.says('values are right') # without its picture too
    assert shown.errors == []
    page.close()

def test_hostile_texts_stay_texts(browser, tmp_path):
    "In every place that others write into: no tag of theirs, no request, no script"
    found = make_results(tmp_path, HOSTILE, other=lambda t: t + '!', flags=lambda t: [t], how=lambda t: t, unit=lambda t: t, value=lambda t: t)
    rows = [json.loads(l) for l in found.read_text(encoding='utf-8').splitlines()]
    rows[0]['record']['fields'] = {t: v for t, v in zip(HOSTILE, rows[0]['record']['fields'].values())}
    rows[1]['file'] = HOSTILE[6]
    write_rows(found, rows)
    w = opened(found, who=HOSTILE[0])
    for v in w.session.page(0)[:20]: w.session.mark(v, 'fixed', 'x' + v.text[:20].replace('\ud800', ''), note=HOSTILE[1])
    shown = WidgetPage(browser, w, tmp_path)
    page = shown.page
    tags = set()
    for _ in range(len(HOSTILE) + 3):
        page.keyboard.press('j')
        json.dumps(w.view, ensure_ascii=False).encode() # as a kernel sends it
        tags |= set(page.evaluate("[...document.querySelectorAll('#host *')].map((n) => n.tagName + [...n.attributes].filter((a) => a.name.startsWith('on')).map((a) => a.name).join())"))
    page.keyboard.press(']'), page.wait_for_timeout(100)
    assert tags == {'DIV', 'SPAN', 'STRONG', 'BUTTON', 'KBD', 'OUTPUT', 'SELECT', 'OPTION', 'P', 'DL', 'DT', 'DD', 'IMG', 'SECTION', 'LABEL', 'INPUT', 'DATALIST'}
    assert shown.errors == [] and [u for u in shown.asked if not u.startswith(('file:', 'blob:', 'data:'))] == []
    page.close()

@pytest.mark.parametrize('dark', [True, False], ids=['dark', 'light'])
def test_readable_in_both_themes_and_small_enough(browser, tmp_path, dark):
    w = opened(make_results(tmp_path))
    w.session.mark(w.session.page(0)[0], 'fixed', 'x')
    shown = WidgetPage(browser, w, tmp_path, dark, (850, 600))
    box = shown.page.locator('.reviewer').bounding_box()
    assert box['height'] <= 590 and box['width'] <= 850 # what JupyterLab leaves of 1280 x 720
    for keys in (['Escape'], ['?'], ['?', 'm']):
        for k in keys: shown.page.keyboard.press(k)
        worst = shown.page.evaluate(CONTRAST, '.reviewer')
        assert worst[0] >= 4.5, worst
    unnamed = shown.page.evaluate("[...document.querySelectorAll('.reviewer :is(button, input, select)')].filter((n) => !(n.textContent.trim() || n.labels?.length || n.ariaLabel)).length")
    assert unnamed == 0
    shown.page.close()

def test_in_jupyterlab(browser, tmp_path):
    "No key reaches the notebook; a reload, a second tab and a dead kernel lose nothing"
    make_results(tmp_path)
    cells = [('code', 'from welllog_ocr.inspector import inspect\ninspect("found.jsonl", who="anna")'), ('markdown', 'Nobody touches this')]
    cells = [dict(cell_type=kind, id=f'cell{i}', source=source, metadata={}, **(dict(outputs=[], execution_count=None) if kind == 'code' else {})) for i, (kind, source) in enumerate(cells)]
    (tmp_path/'a.ipynb').write_text(json.dumps(dict(nbformat=4, nbformat_minor=5, metadata=dict(kernelspec=dict(name='python3', display_name='Python 3', language='python')), cells=cells)))
    server, url = start_lab(tmp_path)
    errors = []
    def tab(path):
        page = browser.new_page(viewport=dict(width=1280, height=720))
        page.set_default_timeout(SLOW), page.on('pageerror', lambda e: errors.append(str(e)))
        page.goto(f'{url}/lab/{path}', wait_until='commit'), page.wait_for_selector('.jp-Notebook .jp-Cell')
        return page
    def run(page):
        from playwright.sync_api import TimeoutError
        page.evaluate("document.querySelectorAll('.reviewer').forEach((n) => { n.dataset.old = 1; })")
        for _ in range(6): # a key that comes before the kernel is connected is lost
            dialog = page.locator('.jp-Dialog .jp-mod-accept')
            if dialog.count(): dialog.first.click()
            page.locator('.jp-Cell .cm-content').first.click(timeout=SLOW/6), page.keyboard.press('Control+Enter')
            try: return page.locator('.reviewer:not([data-old]) .row').first.wait_for(timeout=SLOW/6)
            except TimeoutError: pass
        pytest.fail('the cell did not run')
    says = lambda page, part: page.wait_for_function("(t) => document.querySelector('.reviewer .say').textContent.includes(t)", arg=part)
    states = lambda: [r.get('state', 'undo') for r in read_jsonl(tmp_path/'found.review.jsonl', missing_ok=True)]
    inside = lambda page: page.evaluate("document.querySelector('.reviewer').contains(document.activeElement)")
    try:
        page = tab('tree/a.ipynb')
        run(page)
        page.locator('.reviewer .say').click()
        for k in [*'cdfghilpqrtvwy0123456789', 'd', 'd', '0', '0', 'Shift+M', 'Delete', 'Backspace', 'Enter', 'Space', 'ArrowDown', 'j', 'e', 'd', 'd', 'Control+a', 'Control+z', 'Escape', 'n', 'x', 'Escape', 'm', 'Escape']:
            page.keyboard.press(k)
            assert inside(page), k
        assert page.locator('.jp-Notebook .jp-Cell').count() == 2 and states() == []
        page.keyboard.press('a'), says(page, 'ok: ')
        page.keyboard.press('Escape')
        assert not inside(page)
        page.keyboard.press('Enter')
        assert inside(page)
        page.locator('.jp-MarkdownOutput').first.click(), page.keyboard.press('Escape'), page.keyboard.press('Control+s')
        end = time.monotonic() + SLOW/1000
        while '"outputs": []' in (tmp_path/'a.ipynb').read_text():
            assert time.monotonic() < end, 'the notebook was not saved'
            time.sleep(.1)

        other = tab('workspaces/b/tree/a.ipynb') # a second tab on the same kernel
        other.locator('.reviewer .row').first.wait_for()
        other.locator('.reviewer .say').click(), other.keyboard.press('x'), says(other, 'unsure: ')
        assert states() == ['ok', 'unsure']
        other.close()
        page.reload(), page.locator('.reviewer .row').first.wait_for()
        assert '1 ok' in page.locator('.reviewer output').inner_text() and '1 unsure' in page.locator('.reviewer output').inner_text()

        kernel = json.load(urllib.request.urlopen(url + '/api/sessions'))[0]['kernel']['id']
        urllib.request.urlopen(urllib.request.Request(f'{url}/api/kernels/{kernel}/restart', b'', method='POST'))
        page.locator('.reviewer .say').click(), page.keyboard.press('a') # nobody is there to hear it
        page.locator('.reviewer [role=alert]:not([hidden])').wait_for()
        assert states() == ['ok', 'unsure']
        run(page)
        page.locator('.reviewer:not([data-old]) .say').click(), page.keyboard.press('u')
        page.wait_for_function("() => [...document.querySelectorAll('.reviewer .say')].some((n) => n.textContent.includes('undone'))")
        assert states() == ['ok', 'unsure', 'undo'] and errors == []
        page.close()
    finally:
        server.terminate()
        server.wait(30)
