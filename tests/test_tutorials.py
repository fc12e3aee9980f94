"""Every tutorial opened in a real JupyterLab and run to its end, as a reader does it."""
import json, shutil, time

import pytest
from conftest import ROOT
from lab import ARGS, CHROMIUM, SLOW, needs_browser, start_lab

TUTORIALS = sorted((ROOT/'nbs'/'tutorials').glob('*.ipynb'))
QUICK = '12_add_a_model' # the one that runs with every change
pytestmark = needs_browser

def emptied(path, folder):
    "The page without what it has shown so far, where it lies in a checkout"
    shutil.copytree(ROOT/'configs', folder/'configs')
    copy = folder/path.relative_to(ROOT)
    copy.parent.mkdir(parents=True)
    nb = json.loads(path.read_text(encoding='utf-8'))
    for c in nb['cells']:
        if c['cell_type'] == 'code': c.update(outputs=[], execution_count=None)
    copy.write_text(json.dumps(nb), encoding='utf-8')
    return copy

def run_all(page, url, name, minutes):
    "Run > Run All Cells, and save"
    page.set_default_timeout(SLOW)
    page.goto(f'{url}/lab/tree/{name}?reset', wait_until='commit', timeout=SLOW)
    page.wait_for_selector('.jp-Notebook .jp-CodeCell')
    page.wait_for_function("() => window.jupyterapp && window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    page.evaluate("() => { window.done = 0; window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => window.jupyterapp.commands.execute('docmanager:save')).then(() => { window.done = 1; }); }")
    page.wait_for_function('() => window.done', timeout=minutes*60_000, polling=500)

def told(c)->str: return ''.join(c['source'])[:300] + '\n' + '\n'.join(f"{o['ename']}: {o['evalue']}" for o in c['outputs'] if o['output_type'] == 'error')

@pytest.mark.parametrize('path', [pytest.param(p, id=p.stem, marks=[] if p.stem == QUICK else pytest.mark.soak) for p in TUTORIALS])
def test_a_tutorial_runs_to_its_end(path, tmp_path, monkeypatch):
    from playwright.sync_api import sync_playwright
    for name in ('IN_TEST', 'TQDM_DISABLE'): monkeypatch.delenv(name, raising=False)
    copy, start = emptied(path, tmp_path), time.monotonic()
    lab, url = start_lab(tmp_path, '--LabApp.expose_app_in_browser=True')
    try:
        with sync_playwright() as p:
            browser = p.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
            run_all(browser.new_page(viewport=dict(width=1300, height=1000)), url, path.relative_to(ROOT), minutes=20)
            browser.close()
    finally:
        lab.terminate()
        lab.wait(60)
    cells = [c for c in json.loads(copy.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code' and ''.join(c['source']).strip()]
    assert not [told(c) for c in cells if any(o['output_type'] == 'error' for o in c['outputs'])]
    assert all(c['execution_count'] for c in cells), 'a cell was not run'
    print(f'{path.stem}: {len(cells)} cells in {time.monotonic() - start:.0f} s')
