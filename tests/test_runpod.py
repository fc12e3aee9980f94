"""Launch, watch and stop in a real kernel and a real JupyterLab: kernels are killed, browsers reloaded, notebooks reopened, and the run goes on."""
import json, os, re, signal, time, urllib.request
from pathlib import Path

import pytest
from conftest import ROOT
from lab import ARGS, CHROMIUM, MISSING, needs_browser, start_lab
from runs import tiny

from welllog_ocr.config import config_json
from welllog_ocr.files import read_json, read_jsonl
from welllog_ocr.runpod import launch, run_status, stop, watch
from welllog_ocr.run.supervision import supervisor_dir

CELL = "from welllog_ocr.config import load_config\nfrom welllog_ocr.runpod import launch, watch\nrun = launch(load_config('wells.json'))\nwatch(run, every=.5)"

@pytest.fixture
def long(home, monkeypatch):
    "A run that does not end by itself, in a folder of its own; it is stopped at the end of the test"
    for name, value in dict(HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT)).items(): monkeypatch.setenv(name, value)
    cfg = tiny(home, max_steps=1_000_000, warmup_steps=2, logging_steps=5, eval_steps=1_000_000, save_steps=20)
    (home/'wells.json').write_text(config_json(cfg))
    yield cfg
    if cfg.run_dir.is_dir() and run_status(cfg.run_dir)['alive']: stop(cfg.run_dir)

def wait_for(true, what, seconds=240):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, what
        time.sleep(.1)
    return found

def on_the_move(run):
    "Does it train? Waits until it has come further"
    step = run_status(run)['step']
    return wait_for(lambda: run_status(run)['step'] > step and run_status(run)['state'] == 'running', f'no step after {step}: {run_status(run)["state"]}, {run_status(run)["why"]}')

def unharmed(run):
    "One start, no crash, rows without a gap; and what is left after it was stopped is whole"
    view = watch(run)
    view._repr_mimebundle_()
    for name in ('Stop the run', 'Stop it'): next(b for b in view.controls.children[1:] if b.description == name).click()
    assert wait_for(lambda: view.said, 'no word of it').startswith('x: stopped (SIGTERM; step ')
    assert wait_for(lambda: not view.controls.children[1:], 'it can still be stopped') and view.said in view.controls.children[0].value
    view.close()
    steps = [r['step'] for r in read_jsonl(run/'metrics.jsonl') if r['split'] == 'train']
    assert steps == list(range(5, 5*len(steps) + 1, 5))
    assert [e['event'] for e in read_jsonl(supervisor_dir(run)/'log.jsonl') if e['event'] in ('started', 'crashed', 'hung')] == ['started']

def killed_kernels(cfg, n):
    "Each time: a new kernel runs the cell, sees the run, and is killed with all of its group"
    from jupyter_client import KernelManager
    for k in range(n):
        km = KernelManager()
        km.start_kernel(cwd=str(Path(cfg.output_dir).parent))
        kc = km.client()
        kc.start_channels()
        try:
            kc.wait_for_ready(timeout=120)
            seen = []
            reply = kc.execute_interactive(CELL, timeout=240, output_hook=lambda m: seen.append(m['content']))
            assert reply['content']['status'] == 'ok', reply['content']
            assert any('application/vnd.jupyter.widget-view+json' in c.get('data', {}) for c in seen)
            assert any('welllog-watch' in json.dumps(c) for c in seen) # the value of the widget
        finally:
            kc.stop_channels()
            km.shutdown_kernel(now=True)
        on_the_move(cfg.run_dir)

@pytest.mark.skipif(not MISSING, reason='the test in JupyterLab does the same and more')
def test_a_killed_kernel_leaves_the_run_alone(long):
    killed_kernels(long, 1)
    unharmed(long.run_dir)

@pytest.mark.soak
def test_killed_kernels(long, reliability):
    killed_kernels(long, 20)
    unharmed(long.run_dir)
    reliability('notebook kernel killed while a run goes on', 20, '20', 'run unharmed, view back')

def notebook(folder):
    "The notebook of this folder, with its one cell"
    cell = dict(cell_type='code', id='a1', source=CELL, metadata={}, outputs=[], execution_count=None)
    (folder/'pod.ipynb').write_text(json.dumps(dict(cells=[cell], metadata=dict(kernelspec=dict(name='python3', display_name='python3', language='python')), nbformat=4, nbformat_minor=5)))

class Browser:
    "A page of JupyterLab with the notebook in it"
    def __init__(self, context, url): self.context, self.url, self.page = context, url, None

    def open(self):
        if self.page: self.page.close(run_before_unload=False)
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)
        self.page.goto(f'{self.url}/lab/tree/pod.ipynb?reset')
        self.page.wait_for_selector('.jp-Notebook .jp-CodeCell')

    def run_cell(self):
        "Until it is seen to have run: keys that are pressed while a kernel starts are lost, and a status bar does not always hear of its start"
        wait_for(lambda: any(k['execution_state'] == 'idle' for k in self.kernels()), 'no kernel is idle')
        self.page.evaluate("document.querySelectorAll('.jp-OutputArea-output').forEach(e => e.dataset.old = 1)")
        for _ in range(8):
            self.page.locator('.jp-Notebook .jp-CodeCell .cm-content').first.click()
            self.page.keyboard.press('Control+Enter')
            end = time.monotonic() + 30
            while time.monotonic() < end:
                if self.page.locator('.jp-OutputArea-output:not([data-old]) .welllog-watch').count(): return
                self.page.wait_for_timeout(200)
        raise AssertionError('the cell does not run')

    def live(self):
        "Is the view there, and does it move?"
        view = self.page.locator('.welllog-watch')
        view.first.wait_for(timeout=120_000)
        step = lambda: int(re.search(r'step (\d+)', view.first.inner_text())[1]) if view.count() else -1
        first = step()
        wait_for(lambda: step() > first >= 0 and 'running' in view.first.inner_text(), f'the view stands still at step {first}')
        assert self.page.locator('.welllog-watch img').count() == 1 # the curves

    def asks_before_it_stops(self):
        button = lambda name: self.page.get_by_role('button', name=name, exact=True)
        button('Stop the run').click(), button('Let it run').click()
        button('Stop the run').wait_for()
        self.live()

    def reload(self):
        "As F5 does it, after the notebook was saved: the widget is found again without running anything"
        path = Path(self.folder)/'pod.ipynb'
        before = path.stat().st_mtime_ns # an earlier save holds an earlier widget, which no kernel knows any more
        self.page.keyboard.press('Control+s')
        wait_for(lambda: path.stat().st_mtime_ns > before and 'widget-view' in path.read_text(), 'the notebook was not saved')
        self.page.reload()
        self.page.wait_for_selector('.jp-Notebook .jp-CodeCell')

    def kernels(self):
        "The server's kernels; none while it answers that one of them is just being replaced"
        try: return json.load(urllib.request.urlopen(f'{self.url}/api/kernels'))
        except urllib.error.HTTPError as e:
            if e.code < 500: raise
            return []

    def restart(self):
        "The kernel is restarted, and the cell run again"
        request = urllib.request.Request(f'{self.url}/api/kernels/{self.kernels()[0]["id"]}/restart', method='POST')
        assert urllib.request.urlopen(request, timeout=120).status == 200
        time.sleep(1)
        self.run_cell()

    def reopen(self):
        "The notebook is closed and opened in a new page, and the cell run again"
        self.open()
        self.run_cell()

def in_jupyterlab(cfg, n):
    "n times each: browser reloaded, kernel restarted, notebook reopened"
    from playwright.sync_api import sync_playwright
    folder = Path(cfg.output_dir).parent
    notebook(folder)
    server, url = start_lab(folder)
    try:
        with sync_playwright() as p:
            chromium = p.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
            b = Browser(chromium.new_context(), url)
            b.folder = folder
            b.open()
            b.run_cell()
            b.live()
            b.asks_before_it_stops()
            for _ in range(n):
                for act in (b.reload, b.restart, b.reopen):
                    act()
                    b.live()
            chromium.close()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    on_the_move(cfg.run_dir) # the server is gone too

@needs_browser
def test_in_jupyterlab(long):
    in_jupyterlab(long, 1)
    unharmed(long.run_dir)

@needs_browser
@pytest.mark.soak
def test_in_jupyterlab_again_and_again(long, reliability):
    in_jupyterlab(long, 10)
    unharmed(long.run_dir)
    reliability('browser reloaded, kernel restarted, notebook reopened in JupyterLab while a run goes on', 30, '30', 'run unharmed, view back')

@pytest.mark.soak
def test_a_new_pod_goes_on(long, reliability):
    "Another machine with the old volume: what the lost one left in locks and status is stale, and one call goes on"
    run = launch(long)
    wait_for(lambda: run_status(run)['step'] >= 5 or not run_status(run)['alive'], 'no step')
    wait_for(lambda: list((run/'checkpoints').glob('step-*')), 'no checkpoint')
    status = read_json(supervisor_dir(run)/'status.json')
    for pid in (status['pid'], status['worker']): os.kill(pid, signal.SIGKILL) # both at once, as a host dies
    wait_for(lambda: not run_status(run)['alive'], 'still there')
    assert run_status(run)['state'] == 'gone'
    for path in (run/'lock', supervisor_dir(run)/'status.json'):
        row = json.loads(path.read_text())
        path.write_text(json.dumps({**row, 'host': 'lost-pod', 'boot': 'another', 'beat': time.time() - 600}))
    assert launch(long) == run
    wait_for(lambda: any(e['event'] == 'resumed' for e in read_jsonl(run/'events.jsonl')), 'not resumed')
    assert any(e['event'] == 'took_over' for e in read_jsonl(run/'events.jsonl'))
    assert 'step' in stop(run)
    reliability('a pod is lost, and another one takes over its volume, locks and all', 1, 1, 'goes on from the last checkpoint')
