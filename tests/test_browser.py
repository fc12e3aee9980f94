"""The inspector in a real JupyterLab: every key does what it says, every state survives, the notebook stays as it is, in both themes."""
import json, re, time, urllib.request

import pytest
from lab import ARGS, CHROMIUM, SLOW, needs_browser, start_lab

from welllog_ocr.files import write_json, write_jsonl
from welllog_ocr.review.log import Review

pytestmark = needs_browser
CELLS = [('code', 'from welllog_ocr.inspector import inspect\ninspect("run", who="anna")'), ('markdown', 'Nobody touches this'), ('code', 'x = 1')]

def make_run(folder, n=14):
    from welllog_ocr.data.load import load_data, load_eval
    from welllog_ocr.synth import write_folder
    write_folder(folder/'lines', n=2*n, eval_share=.5)
    samples = load_eval(folder/'lines')[0][:n]
    rows = [dict(id=s.id, digest=s.digest[:16], reference=s.text, prediction=s.text.replace('1', '7').replace(' ', '', 1) + '<b>x</b>', loss=round(3/(i + 1), 3), cer=round((i*5 % 7)/10, 2), style=s.style, kind='line',
                 losses=[.1]*len(s.text) + [2.], info=dict(dpi=200)) for i, s in enumerate(samples)]
    (folder/'run'/'eval').mkdir(parents=True)
    write_json(folder/'run'/'config.json', dict(data_path=str(folder/'lines'), output_dir=str(folder), experiment_name='run'))
    write_jsonl(folder/'run'/'eval'/'step-00000050.jsonl', rows)
    (folder/'run'/'best').mkdir()
    (folder/'run'/'best'/'config.json').write_text('{}')
    learned = load_data(folder/'lines').train[:5]
    write_jsonl(folder/'run'/'eval'/'train.jsonl', [dict(id=s.id, digest=s.digest[:16], reference=s.text, prediction='?', loss=1., doubt=float(i)) for i, s in enumerate(learned)])
    return rows

def make_drawn(folder):
    "A run without data, evaluated on drawn lines"
    from welllog_ocr.config import load_config
    from welllog_ocr.run.samples import drawn
    (folder/'drawn'/'eval').mkdir(parents=True)
    write_json(folder/'drawn'/'config.json', dict(output_dir=str(folder), experiment_name='drawn', synth_eval_lines=3))
    cfg = load_config(folder/'drawn'/'config.json')
    write_jsonl(folder/'drawn'/'eval'/'step-00000050.jsonl', [dict(id=s.id, digest=s.digest[:16], reference=s.text, prediction=s.text[:-1], loss=.1) for s in drawn(cfg, 3, f'{cfg.seed}-eval')])

def notebook(cells=CELLS):
    cells = [dict(cell_type=kind, id=f'cell{i}', source=source, metadata={}, **(dict(outputs=[], execution_count=None) if kind == 'code' else {})) for i, (kind, source) in enumerate(cells)]
    return dict(nbformat=4, nbformat_minor=5, metadata=dict(kernelspec=dict(name='python3', display_name='Python 3', language='python')), cells=cells)

class Lab:
    "A notebook in a browser, with the inspector in its first cell"
    def __init__(self, page, url, folder, path='tree/a.ipynb'):
        self.page, self.url, self.folder, self.path, self.review, self.errors = page, url, folder, path, folder/'run'/'review.jsonl', []
        page.set_default_timeout(SLOW)
        page.on('pageerror', lambda e: self.errors.append(str(e)))

    def open(self):
        self.page.goto(f'{self.url}/lab/{self.path}', wait_until='commit', timeout=SLOW)
        self.page.wait_for_selector('.jp-Notebook .jp-Cell', timeout=SLOW)

    def run_cell(self):
        "Run the first cell until there is a new inspector"
        from playwright.sync_api import TimeoutError
        self.page.evaluate("document.querySelectorAll('.inspector').forEach((n) => { n.dataset.old = 1; })")
        for _ in range(6): # a key that comes before the kernel is connected is lost
            dialog = self.page.locator('.jp-Dialog .jp-mod-accept')
            if dialog.count(): # such as the choice of a kernel, when a busy machine was slow to name its kernels
                print(self.page.locator('.jp-Dialog').first.inner_text())
                dialog.first.click()
            self.page.locator('.jp-Cell .cm-content').first.click(timeout=SLOW/6)
            self.page.keyboard.press('Control+Enter')
            try: return self.page.locator('.inspector:not([data-old]) .row').first.wait_for(timeout=SLOW/6)
            except TimeoutError: pass
        pytest.fail('the cell did not run')

    def ready(self): self.page.locator('.inspector .row').first.wait_for(timeout=SLOW)
    def focus(self): self.page.locator('.inspector .say').click()
    def text(self, what): return self.page.locator(f'.inspector {what}').first.inner_text()
    def rows(self): return self.page.locator('.inspector .row').all_inner_texts()
    def until(self, test, why):
        end = time.monotonic() + SLOW/1000
        while not test():
            assert time.monotonic() < end, why() if callable(why) else why
            time.sleep(.03)
    def press(self, keys, says):
        self.page.evaluate("document.querySelector('.inspector .say').textContent = ''")
        for k in keys if isinstance(keys, list) else [keys]: self.page.keyboard.press(k)
        self.until(lambda: says in self.text('.say'), lambda: f'{keys}: {self.text(".say")!r} does not say {says!r}')
    def states(self): return {m.id: (m.state, m.text) for m in Review(self.review).marks.values()}
    def save(self):
        self.page.locator('.jp-MarkdownOutput').first.click()
        self.page.keyboard.press('Escape')
        self.page.keyboard.press('Control+s')
        self.until(lambda: any(c.get('outputs') for c in self.cells()), 'the notebook was not saved')
    def cells(self):
        try: return json.loads((self.folder/'a.ipynb').read_text())['cells']
        except ValueError: return [] # it is being written
    def has_focus(self): return self.page.evaluate("document.querySelector('.inspector').contains(document.activeElement)")
    def prompt(self): return self.page.locator('.jp-InputPrompt').first.inner_text()
    def theme(self, name):
        "Another theme of JupyterLab; the page is loaded again"
        data = json.dumps(dict(raw=json.dumps(dict(theme=name)))).encode()
        urllib.request.urlopen(urllib.request.Request(f'{self.url}/lab/api/settings/@jupyterlab/apputils-extension:themes', data, {'Content-Type': 'application/json'}, method='PUT'))
        self.open(), self.ready()
        self.until(lambda: self.page.evaluate("document.body.dataset.jpThemeLight") == str('Light' in name).lower(), f'no {name}')

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    from playwright.sync_api import sync_playwright
    folder = tmp_path_factory.mktemp('lab')
    make_run(folder)
    (folder/'a.ipynb').write_text(json.dumps(notebook()))
    server, url = start_lab(folder)
    try:
        with sync_playwright() as p:
            browser = p.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
            page = browser.new_page(viewport=dict(width=1280, height=720))
            found = Lab(page, url, folder)
            found.open()
            found.run_cell()
            yield found
            browser.close()
    finally:
        server.terminate()
        server.wait(30)

def another(lab, name, make, cells=CELLS):
    "A notebook and a run of its own, in a window of its own"
    (folder := lab.folder/name).mkdir()
    samples = make(folder)
    (folder/'a.ipynb').write_text(json.dumps(notebook(cells)))
    found = Lab(lab.page.context.browser.new_page(viewport=dict(width=1280, height=720)), lab.url, folder, f'workspaces/{name}/tree/{name}/a.ipynb')
    found.samples = samples
    found.open(), found.run_cell()
    return found

def test_look_judge_reload_restart(lab):
    "The whole way, as a user goes it"
    lab = another(lab, 'whole', make_run)
    name = lambda i: lab.samples[i]['id']
    lab.focus()
    assert lab.text('.place') == '1 of 14' and lab.text('.head strong') == name(0)
    assert lab.page.locator('.inspector img').first.evaluate('(i) => i.naturalWidth') > 0
    assert '<b>x</b>' in lab.text('.diff') and lab.page.locator('.inspector .diff b').count() == 2 # what was read is text

    lab.press('j', '2 of 14'), lab.press('j', '3 of 14'), lab.press('k', '2 of 14')
    lab.press('e', '') # the editor
    lab.page.keyboard.press('Control+a')
    lab.page.keyboard.type('KB 912 jkadpeu?')
    lab.press('Enter', 'fixed: ' + name(1))
    assert lab.states() == {name(1): ('fixed', 'KB 912 jkadpeu?')}
    lab.press('d', 'dropped: ' + name(2)), lab.press('a', 'ok: ' + name(3)), lab.press('p', 'fixed: ' + name(4)), lab.press('m', 'unsure: ' + name(5)), lab.press('d', 'dropped: ' + name(6))
    lab.press('u', f'undone: {name(6)}')
    want = {name(1): ('fixed', 'KB 912 jkadpeu?'), name(2): ('dropped', ''), name(3): ('ok', ''), name(4): ('fixed', lab.samples[4]['prediction']), name(5): ('unsure', '')}
    assert lab.states() == want and lab.text('.place') == '7 of 14'

    lab.page.locator('.inspector label:has-text("Order") select').select_option('cer')
    lab.until(lambda: 'ordered by cer' in lab.text('.say'), 'not ordered')
    cers = [int(re.search(r'(\d+)%', r)[1]) for r in lab.rows()]
    assert cers == sorted(cers, reverse=True) and len(cers) == 14
    lab.page.locator('.inspector label:has-text("Show") select').select_option('todo')
    lab.until(lambda: '9 of 14' in lab.text('.say'), 'not filtered')
    assert lab.states() == want
    lab.focus()
    lab.press('Home', '1 of 9'), lab.press('j', '2 of 9')
    here = lab.text('.head strong')

    lab.save()
    lab.open() # the page is loaded again, the kernel lives
    lab.ready()
    assert lab.states() == want and lab.text('.head strong') == here and lab.text('output') == '9 of 14'
    lab.focus()
    lab.press('j', '3 of 9')
    here = lab.text('.head strong')

    kernel = next(s['kernel']['id'] for s in json.load(urllib.request.urlopen(lab.url + '/api/sessions')) if s['path'].startswith('whole/'))
    urllib.request.urlopen(urllib.request.Request(f'{lab.url}/api/kernels/{kernel}/restart', b'', method='POST'))
    lab.focus()
    lab.page.keyboard.press('d') # nobody is there to hear it, and that is noticed
    lab.until(lambda: 'restarted: run the cell again' in lab.text('[role=alert]'), 'no alarm') # a slow kernel is silent first
    assert lab.states() == want
    lab.run_cell()
    lab.until(lambda: lab.text('.head strong') == here and lab.text('output') == '9 of 14', 'not where it was left')
    lab.focus()
    lab.press('u', f'undone: {name(5)}') # an undo reaches over the restart
    assert lab.states() == {k: v for k, v in want.items() if k != name(5)}
    assert lab.errors == []
    lab.page.close()

def test_no_key_reaches_the_notebook(lab):
    "Keys that delete, cut, split, run or turn cells in JupyterLab: none of them does"
    lab.focus()
    before = [(c['cell_type'], c['source'] if isinstance(c['source'], str) else ''.join(c['source'])) for c in lab.cells()]
    keys = [*'abcdefghijklmnopqrstuvwxyz0123456789', *(f'Shift+{c}' for c in 'ABCDJKLMOPRVZ'), 'd', 'd', '0', '0', 'i', 'i', 'Delete', 'Backspace', 'Enter', 'Shift+Space', 'Space', 'ArrowUp', 'ArrowDown', 'F2', '[', ']', '/', 'x', 'Escape',
            'e', 'x', 'y', 'Control+z', 'Control+c', 'Control+v', 'Alt+3', 'Escape', 'n', 'b', 'Control+a', 'Control+x', 'Escape', 'd', 'd']
    prompt, reviewed = lab.prompt(), lab.review.read_bytes() if lab.review.exists() else b''
    for k in keys:
        lab.page.keyboard.press(k)
        assert lab.has_focus(), k
        if k == 'Enter': lab.until(lambda: not lab.page.locator('.inspector textarea:focus').count(), 'not kept') # then the editor is left
    time.sleep(1)
    lab.until(lambda: lab.page.locator('.inspector [role=alert]').is_hidden(), 'no answer')
    assert lab.page.locator('.jp-Notebook .jp-Cell').count() == len(CELLS) and lab.prompt() == prompt # nothing ran
    lab.save()
    time.sleep(.5)
    assert before == CELLS == [(c['cell_type'], c['source'] if isinstance(c['source'], str) else ''.join(c['source'])) for c in lab.cells()]
    assert lab.review.read_bytes().startswith(reviewed)
    assert lab.errors == []

def test_the_focus_goes_to_and_fro(lab):
    "Esc gives it to the notebook, Enter takes it back, a new inspector has it; what it does not use is JupyterLab's"
    cover, bar = lab.page.locator('.inspector .cover'), lambda: lab.page.locator('#jp-left-stack').is_visible()
    lab.focus()
    assert cover.is_hidden()
    lab.page.keyboard.press('Escape')
    assert not lab.has_focus() and lab.text('.cover') == 'Click or press Enter to use the keys'
    lab.page.keyboard.press('Enter')
    assert lab.has_focus() and cover.is_hidden() and not lab.page.locator('.jp-mod-editMode').count()
    lab.page.keyboard.press('Escape'), lab.page.keyboard.press('ArrowDown')
    lab.until(lambda: lab.page.locator('.jp-MarkdownCell.jp-mod-active').count() == 1, 'the arrow did not reach the notebook')
    assert not lab.has_focus() and lab.text('.cover') == 'Click here to use the keys'
    lab.focus()
    before = bar()
    lab.page.keyboard.press('Control+b')
    lab.until(lambda: bar() != before, 'Ctrl+B did nothing')
    for keys in ('Shift+Enter', 'Control+Enter'):
        lab.focus()
        prompt = lab.prompt()
        lab.page.evaluate("document.querySelectorAll('.inspector').forEach((n) => { n.dataset.old = 1; })")
        lab.page.keyboard.press(keys)
        lab.page.locator('.inspector:not([data-old]) .row').first.wait_for()
        lab.until(lab.has_focus, f'no focus after {keys}')
        assert lab.prompt() != prompt
        lab.press('m', 'unsure'), lab.press('u', 'undone')
        lab.page.keyboard.press('d'), lab.page.keyboard.press('d')
        time.sleep(.3)
        assert lab.page.locator('.jp-Notebook .jp-Cell').count() == len(CELLS)
    lab.press('u', 'undone'), lab.press('u', 'undone')
    lab.page.locator('.jp-Cell .cm-content').last.click()
    lab.page.evaluate("document.querySelectorAll('.inspector').forEach((n) => { n.dataset.old = 1; })")
    assert not lab.has_focus() and lab.page.locator('.jp-mod-editMode').count() # it lets go when someone types elsewhere
    assert lab.errors == []

def test_a_filter_and_signs(lab):
    "A missing column names those there are; Esc clears; fractions are written by key and by button"
    lab.focus()
    for text, says in (('xx:1', "no column 'xx'; there are state, text"), ('nothing like it', '0 of 14')):
        lab.page.keyboard.press('/')
        lab.page.keyboard.press('Control+a'), lab.page.keyboard.type(text)
        lab.press('Enter', says)
        lab.press('Escape', '14 of 14')
        assert lab.page.locator('.inspector input[type=search]').input_value() == '' and lab.has_focus()
    lab.press('Home', '1 of 14'), lab.press('e', '')
    label = lab.page.locator('.inspector textarea')
    before = label.input_value()
    for i in range(1, 10): lab.page.keyboard.press(f'Alt+{i}')
    assert label.input_value() == before + '°½¼¾⅛⅜⅝⅞@'
    lab.page.locator('.inspector .signs button').nth(1).click()
    assert label.input_value() == before + '°½¼¾⅛⅜⅝⅞@½' and label.evaluate('(n) => n === document.activeElement')
    lab.page.keyboard.press('Control+z')
    assert before <= label.input_value() < before + '°½¼¾⅛⅜⅝⅞@½' # JupyterLab forbids the undo of the browser elsewhere
    label.fill(before)
    lab.page.keyboard.press('Escape')
    assert lab.errors == []

def test_many_at_once(lab):
    "The grid: small pictures of what is in sight, several selected by keys and by mouse, one mark and one undo for all"
    lab.focus()
    before = lab.states()
    lab.press('Home', '1 of 14'), lab.press('g', '')
    tiles, thumbs = lab.page.locator('.inspector .tile'), lab.page.locator('.inspector .tile img[src^=blob]')
    seen = "(ns) => ns.filter((n) => n.offsetTop < n.closest('.grid').clientHeight).length"
    lab.until(lambda: thumbs.count() >= tiles.evaluate_all(seen), 'no small pictures')
    assert tiles.count() == 14 and not lab.page.locator('.inspector .frame').is_visible()
    lab.press('Shift+ArrowRight', '2 selected'), lab.press('Shift+ArrowRight', '3 selected')
    tiles.nth(5).click(modifiers=['Control'])
    lab.until(lambda: '4 selected' in lab.text('.place'), 'not added')
    lab.press('d', 'dropped: 4 samples')
    assert sum(m[0] == 'dropped' for m in lab.states().values()) >= 4 and lab.states() != before
    lab.press('u', 'undone: 4 samples')
    assert lab.states() == before and '4 selected' in lab.text('.place')
    tiles.nth(0).click(), tiles.nth(2).click(modifiers=['Shift'])
    lab.until(lambda: '3 selected' in lab.text('.place'), 'no range')
    lab.press('*', '14 selected'), lab.press('Escape', '0 selected'), lab.press('w', 'does not say where')
    lab.page.keyboard.press('Escape')
    assert lab.has_focus() and lab.page.locator('.inspector .frame').is_visible()
    assert lab.errors == []

def test_train_is_one_choice_away(lab):
    "The switch shows what was learned, the most doubtful first; marks go to the same review"
    lab.focus()
    split = lab.page.locator('.inspector select').first
    split.select_option('train')
    lab.until(lambda: '5 of 5' in lab.text('output') and lab.text('.row .num') == '4.00', 'not the train split')
    lab.focus()
    before = len(Review(lab.review).marks)
    lab.press('d', 'dropped')
    assert len(Review(lab.review).marks) == before + 1
    lab.press('u', 'undone')
    split.select_option('eval')
    lab.until(lambda: '14 of 14' in lab.text('output'), 'not the eval split')
    lab.focus()
    assert lab.errors == []

def test_all_of_it_fits_and_stays_in_place(lab):
    "In 1280 x 720: letters of 40 pixels, a zoom that stays, buttons that do not move"
    from welllog_ocr.data.quality import measure_quality
    from PIL import Image
    lab.focus()
    box = lambda what: lab.page.locator(f'.inspector{what}').first.bounding_box()
    panel = lab.page.locator('.jp-WindowedPanel-outer').first.bounding_box()
    assert box('')['height'] <= panel['height'] and box(' .frame')['width'] > .95*box('')['width']
    lab.press('Home', '1 of 14'), lab.press('0', '')
    places, slices, frame = set(), [], lab.page.locator('.inspector .frame')
    for i in range(1, 14):
        lab.press('j', f'{i + 1} of 14')
        lab.until(lambda: lab.page.locator('.inspector img').first.evaluate('(n, name) => n.complete && n.alt.endsWith(name)', lab.text('.head strong')), 'no picture')
        slices.append(lab.page.locator('.inspector .slice').count())
        assert frame.evaluate('(n) => n.scrollWidth <= n.clientWidth') # a long line is cut, and needs no scroll bar
        assert box('')['height'] <= panel['height']
    assert max(slices) > 1 and min(slices) == 1
    lab.press('Home', '1 of 14')
    lab.page.keyboard.press('+')
    for i in range(6):
        lab.press('j', f'{i + 2} of 14')
        name = lab.text('.head strong')
        lab.until(lambda: lab.page.locator('.inspector img').first.evaluate('(n, name) => n.complete && n.alt.endsWith(name)', name), 'no picture')
        letter = measure_quality(Image.open(lab.folder/'lines'/'eval'/name)).letter
        by = lab.page.locator('.inspector img').first.evaluate('(n) => n.clientWidth/n.naturalWidth')
        assert letter*by/1.5 >= 39.5 and lab.text('.tools .num') == '150 %'
        places.add(tuple(tuple(b.bounding_box()[k] for k in 'xywidth'[:2]) for b in lab.page.locator('.inspector .acts button').all()))
    assert len(places) == 1
    lab.press('0', '')
    assert lab.page.locator('.inspector .heads').inner_text().split() == ['loss', 'CER', 'label']
    assert lab.page.locator('.inspector .what').evaluate_all("(ns) => ns.every((n) => ['left', 'start'].includes(getComputedStyle(n).textAlign))")

CONTRAST = """(root) => { // the lowest contrast of a text that is seen, and that text
    const rgb = (c) => { const v = c.match(/[\\d.]+/g).map(Number); return v.length < 4 ? [...v, 1] : v; };
    const light = (c) => c.slice(0, 3).map((v) => v/255).map((v) => v <= .04045 ? v/12.92 : ((v + .055)/1.055)**2.4).reduce((s, v, i) => s + v*[.2126, .7152, .0722][i], 0);
    const paper = (n) => { for (; n; n = n.parentElement) { const c = rgb(getComputedStyle(n).backgroundColor); if (c[3] === 1) return c; if (c[3]) return null; } return [255, 255, 255]; };
    const ink = (n) => getComputedStyle(n)[n.tagName === 'text' ? 'fill' : 'color'];
    const found = [...document.querySelectorAll(`${root}, ${root} *`)].filter((n) => n.checkVisibility() && (n.matches('input, textarea, select') || [...n.childNodes].some((k) => k.nodeType === 3 && k.textContent.trim())));
    return found.map((n) => { const a = light(rgb(ink(n))), b = light(paper(n)); return [(Math.max(a, b) + .05)/(Math.min(a, b) + .05), n.textContent.slice(0, 40), n.tagName, n.className]; }).sort((a, b) => a[0] - b[0])[0]; }"""
TABLES = """() => [...document.querySelectorAll('.wl :is(th, td, tr)')].filter((n) => getComputedStyle(n).textAlign !== (n.classList.contains('n') ? 'right' : 'left') ||
    getComputedStyle(n).backgroundColor !== 'rgba(0, 0, 0, 0)').map((n) => n.outerHTML.slice(0, 100))"""

@pytest.mark.parametrize('name', ['JupyterLab Dark', 'JupyterLab Light'])
def test_it_is_readable_in_both_themes(lab, name):
    "The contrast of each text is 4.5 or more"
    lab.save(), lab.theme(name), lab.focus()
    lab.press('j', ' of '), lab.press('?', '')
    assert (worst := lab.page.evaluate(CONTRAST, ".inspector"))[0] >= 4.5, worst
    lab.page.keyboard.press('Escape'), lab.page.keyboard.press('Escape')
    lab.until(lambda: not lab.has_focus(), 'it keeps the focus')
    assert (worst := lab.page.evaluate(CONTRAST, ".inspector"))[0] >= 4.5, worst
    check_views(lab)

def check_views(lab):
    "All else that a notebook shows, in the theme of now: contrast, text to the left, no stripes; a notebook without trust says so"
    if not (path := lab.folder/'views.ipynb').exists(): write_views(path)
    page, asked, ran = lab.page.context.browser.new_page(), [], []
    page.on('request', lambda r: asked.append(r.url)), page.on('dialog', lambda d: (ran.append(d.message), d.dismiss()))
    page.goto(f'{lab.url}/lab/workspaces/views/tree/views.ipynb', wait_until='commit', timeout=SLOW)
    page.locator('.wl').nth(5).wait_for(state='attached', timeout=SLOW)
    assert page.locator('.wl').count() == 6 and not page.locator('.wl .bare').first.is_visible()
    assert (worst := page.evaluate(CONTRAST, '.wl'))[0] >= 4.5, worst
    assert page.evaluate(TABLES) == []
    assert ran == [] and not [u for u in asked if not u.startswith((lab.url, lab.url.replace('http', 'ws'), 'data:', 'blob:'))]
    page.close()
    if path.with_name('known').exists(): return # once is enough
    for place, says in (('strange.ipynb', lambda p: p.get_by_text('trust the notebook')), ('views/a/report.html', lambda p: p.frame_locator('iframe').get_by_text('Scripts are off'))):
        strange = lab.page.context.browser.new_page()
        strange.goto(f'{lab.url}/lab/workspaces/strange{place[0]}/tree/{place}', wait_until='commit', timeout=SLOW)
        says(strange).first.wait_for(timeout=SLOW)
        strange.close()
    path.with_name('known').touch()

def write_views(path):
    "Two notebooks that show everything: one is trusted, the other is not"
    import nbformat
    from nbformat.sign import NotebookNotary
    from views import run_views, small_views
    from welllog_ocr.render import Doc, DocTable
    (folder := path.with_name('views')).mkdir()
    shown = {k: pair[0] for k, pair in run_views(folder).items()} | small_views() | dict(doc=Doc(['A sentence', DocTable(['a', 'b'], [['x', 1]], 'lr')])._repr_html_())
    nb = notebook([('code', k) for k in shown])
    for cell, html in zip(nb['cells'], shown.values()): cell['outputs'] = [dict(output_type='display_data', metadata={}, data={'text/html': html})]
    path.write_text(text := json.dumps(nb))
    path.with_name('strange.ipynb').write_text(text.replace('"cell0"', '"other"'))
    NotebookNotary(data_dir=str(path.parent/'.data')).sign(nbformat.reads(text, 4))

def test_drawn_samples_are_only_shown(lab):
    "A banner says why, and nothing is written"
    other = another(lab, 'made', make_drawn, [('code', 'from welllog_ocr.inspector import inspect\ninspect("drawn")')])
    page = other.page
    assert 'drawn' in other.text('.banner') and 'true by construction' in other.text('.banner')
    other.focus()
    for key in 'adpm': other.press(key, 'read-only')
    assert page.locator('.inspector textarea').evaluate('(n) => n.readOnly') and page.locator('.inspector .acts button:disabled').count() == 5
    assert not (other.folder/'drawn'/'review.jsonl').exists()
    page.close()

def test_usable_without_eyes(lab):
    "Roles and names for a screen reader; Tab leads out again"
    tree = lab.page.evaluate("""() => { const q = (s) => [...document.querySelectorAll('.inspector ' + s)]; return {
        unnamed: q(':is(button, input, select, textarea)').filter((n) => !(n.textContent.trim() || n.labels?.length)).length, images: q('.frame img')[0].alt && q('.tile').every((t) => t.ariaLabel), live: q('[role=status][aria-live=polite]').length,
        options: q('[role=listbox] [role=option]').length, chosen: q('[aria-selected=true]').length, root: document.querySelector('.inspector').getAttribute('role')}; }""")
    assert tree['unnamed'] == 0 and tree['images'] and tree['live'] == 1 and tree['options'] and tree['chosen'] <= 1 and tree['root'] == 'region'
    lab.focus()
    for _ in range(40):
        lab.page.keyboard.press('Tab')
        if not lab.page.evaluate("document.querySelector('.inspector').contains(document.activeElement)"): break
    else: pytest.fail('Tab stays in the widget')

def test_the_page_in_a_browser(lab):
    "It moves, sorts and filters by keys, runs no foreign script and asks nobody"
    from hostile import HOSTILE
    from PIL import Image
    from welllog_ocr.review.page import write_page
    rows = [dict(id=f'{i}.png', reference=t, prediction=HOSTILE[-1 - i], loss=float(i % 7), cer=.1, **(dict(doubt=float(i*5 % 11) - 4) if i % 3 else {})) for i, t in enumerate(HOSTILE)]
    write_page(lab.folder/'worst.html', rows, lambda r: Image.new('L', (60, 20), 255), HOSTILE[0])
    page, asked, ran = lab.page.context.browser.new_page(), [], []
    page.on('request', lambda r: asked.append(r.url)), page.on('dialog', lambda d: (ran.append(d.message), d.dismiss())), page.on('pageerror', lambda e: ran.append(str(e)))
    page.goto(f'file://{lab.folder}/worst.html')
    page.keyboard.press('j'), page.keyboard.press('j')
    assert page.evaluate('document.activeElement.id') == 's2'
    assert page.locator('form').is_visible() and not page.locator('.still').is_visible()
    page.locator('#sort').select_option('loss')
    losses = page.evaluate("[...document.querySelectorAll('article')].map((a) => Number(a.dataset.loss))")
    assert losses == sorted(losses, reverse=True)
    page.locator('#sort').select_option('doubt')
    doubts = page.evaluate("[...document.querySelectorAll('article')].map((a) => Number(a.dataset.doubt ?? 'Infinity'))")
    assert doubts == sorted(doubts, reverse=True) and doubts[0] == float('inf') # the rows without one come first
    page.locator('#filter').fill('6.png')
    assert page.locator('output').inner_text() == f'{sum("6.png" in r["id"] for r in rows)} of {len(rows)}'
    for name in ('report', 'compare') if (lab.folder/'views').exists() else ():
        page.goto(f"file://{next((lab.folder/'views').rglob(name + '.html'))}")
        for theme in ('light', 'dark'):
            page.emulate_media(color_scheme=theme)
            assert (worst := page.evaluate(CONTRAST, '.wl'))[0] >= 4.5, (name, theme, worst)
        assert page.evaluate(TABLES) == []
    assert ran == [] and [u for u in asked if not u.startswith(('file:', 'data:'))] == []
    page.close()
