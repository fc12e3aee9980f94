"""The inspector in a real JupyterLab: every key does what it says, every state survives, the notebook stays as it is."""
import json, re, time, urllib.request

import pytest
from lab import ARGS, CHROMIUM, SLOW, needs_browser, start_lab

from welllog_ocr.files import write_json, write_jsonl
from welllog_ocr.review.log import Review

pytestmark = needs_browser
CELLS = [('code', 'from welllog_ocr.inspector import inspect\ninspect("run", who="anna")'), ('markdown', 'Nobody touches this'), ('code', 'x = 1')]

def make_run(folder, n=14):
    from welllog_ocr.data.load import load_eval
    from welllog_ocr.synth import write_folder
    write_folder(folder/'lines', n=2*n, eval_share=.5)
    samples = load_eval(folder/'lines')[0][:n]
    rows = [dict(id=s.id, digest=s.digest[:16], reference=s.text, prediction=s.text.replace('1', '7').replace(' ', '', 1) + '<b>x</b>', loss=round(3/(i + 1), 3), cer=round((i*5 % 7)/10, 2), style=s.style, kind='line',
                 losses=[.1]*len(s.text) + [2.], info=dict(dpi=200)) for i, s in enumerate(samples)]
    (folder/'run'/'eval').mkdir(parents=True)
    write_json(folder/'run'/'config.json', dict(data_path=str(folder/'lines'), output_dir=str(folder), experiment_name='run'))
    write_jsonl(folder/'run'/'eval'/'step-00000050.jsonl', rows)
    return rows

def notebook():
    cells = [dict(cell_type=kind, id=f'cell{i}', source=source, metadata={}, **(dict(outputs=[], execution_count=None) if kind == 'code' else {})) for i, (kind, source) in enumerate(CELLS)]
    return dict(nbformat=4, nbformat_minor=5, metadata=dict(kernelspec=dict(name='python3', display_name='Python 3', language='python')), cells=cells)

class Lab:
    "A notebook in a browser, with the inspector in its first cell"
    def __init__(self, page, url, folder): self.page, self.url, self.folder, self.review = page, url, folder, folder/'run'/'review.jsonl'

    def open(self):
        self.page.goto(f'{self.url}/lab/tree/a.ipynb', wait_until='commit', timeout=SLOW)
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
    def cells(self): return json.loads((self.folder/'a.ipynb').read_text())['cells']

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    from playwright.sync_api import sync_playwright
    folder = tmp_path_factory.mktemp('lab')
    rows = make_run(folder)
    (folder/'a.ipynb').write_text(json.dumps(notebook()))
    server, url = start_lab(folder)
    try:
        with sync_playwright() as p:
            browser = p.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
            page = browser.new_page(viewport=dict(width=1400, height=1000))
            page.set_default_timeout(SLOW)
            errors = []
            page.on('pageerror', lambda e: errors.append(str(e)))
            found = Lab(page, url, folder)
            found.samples, found.errors = rows, errors
            found.open()
            found.run_cell()
            yield found
            browser.close()
    finally:
        server.terminate()
        server.wait(30)

def test_look_judge_reload_restart(lab):
    "The whole way, as a user goes it"
    name = lambda i: lab.samples[i]['id']
    lab.focus()
    assert lab.text('.place') == '1 of 14' and lab.text('.head strong') == name(0)
    assert lab.page.locator('.inspector img').evaluate('(i) => i.naturalWidth') > 0
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

    lab.page.locator('.inspector select').nth(1).select_option('cer')
    lab.until(lambda: 'ordered by cer' in lab.text('.say'), 'not ordered')
    cers = [int(re.search(r'(\d+)%', r)[1]) for r in lab.rows()]
    assert cers == sorted(cers, reverse=True) and len(cers) == 14
    lab.page.locator('.inspector select').nth(0).select_option('todo')
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

    kernel = json.load(urllib.request.urlopen(lab.url + '/api/kernels'))[0]['id']
    urllib.request.urlopen(urllib.request.Request(f'{lab.url}/api/kernels/{kernel}/restart', b'', method='POST'))
    lab.focus()
    lab.page.keyboard.press('d') # nobody is there to hear it
    lab.page.locator('.inspector [role=alert]').wait_for()
    assert 'not written down' in lab.text('[role=alert]') and lab.states() == want
    lab.run_cell()
    lab.until(lambda: lab.text('.head strong') == here and lab.text('output') == '9 of 14', 'not where it was left')
    lab.focus()
    lab.press('u', f'undone: {name(5)}') # an undo reaches over the restart
    assert lab.states() == {k: v for k, v in want.items() if k != name(5)}
    assert lab.errors == []

def test_no_key_reaches_the_notebook(lab):
    "Keys that delete, cut, split, run or turn cells in JupyterLab: none of them does"
    lab.focus()
    before = [(c['cell_type'], c['source'] if isinstance(c['source'], str) else ''.join(c['source'])) for c in lab.cells()]
    keys = [*'abcdefghijklmnopqrstuvwxyz0123456789', *(f'Shift+{c}' for c in 'ABCDJKLMOPRVZ'), 'd', 'd', '0', '0', 'i', 'i', 'Delete', 'Backspace', 'Shift+Enter', 'Control+Enter', 'Alt+Enter', 'Enter', 'Escape', 'Control+Shift+-', 'Shift+Space', 'Space',
            'Control+z', 'Control+Shift+z', 'Control+b', 'ArrowUp', 'ArrowDown', 'Control+ArrowUp', 'F2', '[', ']', '/', 'x', 'Escape', 'e', 'x', 'y', 'Escape', 'n', 'b', 'Shift+Enter', 'Escape']
    prompt, reviewed = lab.page.locator('.jp-InputPrompt').first.inner_text(), lab.review.read_bytes() if lab.review.exists() else b''
    for k in keys: lab.page.keyboard.press(k)
    time.sleep(1)
    lab.until(lambda: lab.page.locator('.inspector [role=alert]').is_hidden(), 'no answer')
    assert lab.page.locator('.jp-Notebook .jp-Cell').count() == len(CELLS)
    assert lab.page.locator('.jp-InputPrompt').first.inner_text() == prompt # nothing ran
    lab.save()
    time.sleep(.5)
    assert before == CELLS == [(c['cell_type'], c['source'] if isinstance(c['source'], str) else ''.join(c['source'])) for c in lab.cells()]
    assert lab.review.read_bytes().startswith(reviewed)
    assert lab.errors == []

def test_usable_without_eyes(lab):
    "Roles and names for a screen reader; Tab leads out again"
    tree = lab.page.evaluate("""() => { const q = (s) => [...document.querySelectorAll('.inspector ' + s)]; return {
        unnamed: q(':is(button, input, select, textarea)').filter((n) => !(n.textContent.trim() || n.labels?.length)).length, images: q('img').every((i) => i.alt), live: q('[role=status][aria-live=polite]').length,
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
    page.locator('#sort').select_option('loss')
    losses = page.evaluate("[...document.querySelectorAll('article')].map((a) => Number(a.dataset.loss))")
    assert losses == sorted(losses, reverse=True)
    page.locator('#sort').select_option('doubt')
    doubts = page.evaluate("[...document.querySelectorAll('article')].map((a) => Number(a.dataset.doubt ?? 'Infinity'))")
    assert doubts == sorted(doubts, reverse=True) and doubts[0] == float('inf') # the rows without one come first
    page.locator('#filter').fill('6.png')
    assert page.locator('output').inner_text() == f'{sum("6.png" in r["id"] for r in rows)} of {len(rows)}'
    assert ran == [] and [u for u in asked if not u.startswith(('file:', 'data:'))] == []
    page.close()
