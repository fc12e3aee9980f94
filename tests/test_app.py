"""The page to drop a scan on, in a browser and by its API: nothing runs, nothing is loaded from elsewhere, nothing stays."""
import importlib.util, json, os, random, socket, subprocess, sys, threading, time, urllib.error, urllib.request
from argparse import Namespace
from pathlib import Path

import pytest
from conftest import share
from hostile import HOSTILE
from lab import ARGS, CHROMIUM, needs_browser

from welllog_ocr.archive.desk import Desk

pytestmark = pytest.mark.skipif(not importlib.util.find_spec('gradio'), reason='needs gradio, which the extra app brings')
TOKEN = 'a token of a test'
BEARER = {'Authorization': f'Bearer {TOKEN}'}

class Served:
    "An app in this process, whose scans are read by odd_pages"
    def __init__(self, folder, token='', **more):
        import uvicorn
        from welllog_ocr.archive.reception import Reception, Visits
        from welllog_ocr.app import build_page, load_gradio, web_app
        for name in ('up', 'in', 'tmp'): (folder/name).mkdir()
        gradio, limits = load_gradio(folder/'up'), Namespace(host='127.0.0.1', port=0, token=token, limit_mb=1, limit_pages=3)
        self.root, self.desk = folder, Desk(dict(reader='odd_pages:scan_reader'), folder/'in', **more)
        self.house, s = Reception(self.desk, Visits(), folder/'in'), socket.socket()
        s.bind(('127.0.0.1', 0))
        self.url = f'http://127.0.0.1:{s.getsockname()[1]}/'
        self.server = uvicorn.Server(uvicorn.Config(web_app(build_page(gradio, self.house, limits), self.house, limits), log_level='critical', timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run, kwargs=dict(sockets=[s]), daemon=True)
        self.thread.start()
        while not self.server.started: time.sleep(.02)

    def left(self): return sorted(str(p.relative_to(self.root)) for p in self.root.rglob('*') if p.is_file())
    def close(self):
        self.server.should_exit = True
        self.thread.join()
        self.desk.close()

@pytest.fixture(scope='module')
def served(tmp_path_factory):
    with pytest.MonkeyPatch.context() as m:
        m.setenv('PYTHONPATH', os.pathsep.join([str(Path(__file__).parent), os.environ.get('PYTHONPATH', '')]))
        app = Served(tmp_path_factory.mktemp('app'), TOKEN)
        yield app
        app.close()

@pytest.fixture(scope='module')
def client(served):
    from gradio_client import Client
    return Client(served.url, headers=BEARER, verbose=False)

def ask(url, data=None, **headers):
    try: answer = urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30)
    except urllib.error.HTTPError as e: answer = e
    return answer.status, answer.read().decode('utf-8', 'replace')

def drop(tmp_path, *texts, name='a.tif'):
    paths = []
    for n, text in enumerate(texts):
        (tmp_path/str(n)).mkdir(exist_ok=True)
        paths.append(tmp_path/str(n)/name)
        paths[-1].write_bytes(text.encode('utf-8', 'surrogatepass'))
    return paths

def test_nobody_comes_in_without_the_token(served):
    for path in ('', 'config', 'gradio_api/info', 'gradio_api/openapi.json', 'theme.css', 'sheet/x/0', 'save/x/las'):
        assert ask(served.url + path)[0] == 401 and ask(served.url + path, Authorization='Bearer x')[0] == 401
    for path, data in (('gradio_api/upload', b'x'), ('gradio_api/queue/join', b'{}'), ('enter', b'token=' + b'x'*5000)): assert ask(served.url + path, data)[0] == 401
    assert ask(served.url + 'gradio_api/info', **BEARER)[0] == 200

def test_what_the_api_says_of_itself(served):
    paths = json.loads(ask(served.url + 'gradio_api/openapi.json', **BEARER)[1])['paths']
    assert {p.split('/')[-1] for p in paths} >= {'upload', 'read', 'las'} and 'as the command predict' in json.dumps(paths)
    assert {*json.loads(ask(served.url + 'gradio_api/info', **BEARER)[1])['named_endpoints']} == {'/read', '/las'}

def test_a_scan_by_the_api(client, served, tmp_path):
    from gradio_client import handle_file
    row, = client.predict(handle_file(drop(tmp_path, 'ACME')[0]), api_name='/read')
    assert row['file'] == 'a.tif' and row['record']['fields']['company']['text'] == 'ACME' and 'picture' not in row
    assert 'ACME : company' in client.predict(row['record'], api_name='/las')
    assert served.left() == []

@pytest.mark.parametrize('text, says', [('bad it is cut off', 'it is cut off'), ('kill', 'signal 9'), ('x'*1_100_000, 'size'), ('hang', 'took longer than')])
def test_what_cannot_be_read(client, served, tmp_path, text, says):
    "One message each, and the next scan is read"
    from gradio_client import handle_file
    job = client.submit(handle_file(drop(tmp_path, text)[0]), api_name='/read')
    if text == 'hang': # without waiting: the reader has begun, and has no time at all
        while not any(served.desk.readers.look().begun.values()): time.sleep(.02)
        served.desk.timeout = .01
    with pytest.raises(Exception, match=says): job.result(timeout=60)
    served.desk.timeout = 60
    assert client.predict(handle_file(drop(tmp_path, 'ACME')[0]), api_name='/read')[0]['text'] == 'ACME' and served.left() == []

@pytest.mark.parametrize('path', ['http://127.0.0.1:9/a.tif', 'https://scans.example/a.tif', '/etc/hostname', '../../etc/hostname', ''])
def test_only_uploads_are_read(served, path):
    body = json.dumps(dict(data=[dict(path=path, meta=dict(_type='gradio.FileData'))])).encode()
    event = json.loads(ask(served.url + 'gradio_api/call/read', body, **BEARER, **{'Content-Type': 'application/json'})[1])['event_id']
    assert 'event: error' in ask(served.url + f'gradio_api/call/read/{event}', **BEARER)[1] and Path('/etc/hostname').exists()

def test_the_same_scan_of_two_people(client, served, tmp_path):
    "Each has an upload of their own, which the other does not take away"
    from gradio_client import handle_file
    jobs = [client.submit(handle_file(p), api_name='/read') for p in drop(tmp_path, *['ACME']*6)]
    assert [j.result(timeout=60)[0]['text'] for j in jobs] == ['ACME']*6 and served.left() == []

@pytest.fixture
def page(served):
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
        page = browser.new_page(viewport=dict(width=1400, height=900))
        page.asked, page.ran = [], []
        page.on('request', lambda r: page.asked.append(r.url)), page.on('dialog', lambda d: (page.ran.append(d.message), d.dismiss())), page.on('pageerror', lambda e: page.ran.append(str(e)))
        page.route(lambda url: not url.startswith((served.url, 'data:', 'blob:')), lambda r: r.abort())
        page.set_default_timeout(60_000)
        yield page
        assert page.ran == [] and [u for u in page.asked if not u.startswith((served.url, 'data:', 'blob:'))] == []
        browser.close()

def enter(page, served):
    page.goto(served.url)
    page.locator('input[name=token]').fill('not the token')
    page.keyboard.press('Enter')
    page.get_by_text('This is not the token').wait_for()
    page.locator('input[name=token]').fill(TOKEN)
    page.keyboard.press('Enter')
    page.locator('input[type=file]').first.wait_for(state='attached')

@needs_browser
def test_the_page(page, served, tmp_path):
    "Hostile names and texts are shown as they are; values are corrected and saved; both themes are readable; nothing stays"
    from test_browser import CONTRAST
    enter(page, served)
    texts = [HOSTILE[n] for n in (0, 6, -6, -2)]
    names = ['"><img src=x onerror=alert(1)>.tif', "'; alert(1) ;'.tif", '\u202e{{7*7}} ${alert(1)}.tif', 'a\nb<b>.tif']
    paths = [drop(tmp_path, t, name=n)[0].rename(tmp_path/n) for t, n in zip(texts, names)] + [drop(tmp_path, 'bad <script>alert(1)</script>', name='bad<i>.tif')[0]]
    page.locator('input[type=file]').first.set_input_files(paths)
    page.get_by_text('all 4 pages').wait_for()
    assert 'bad <script>alert(1)</script>; convert it' in page.locator('.wrong').inner_text() and served.left() == []
    for n, text in enumerate(texts):
        page.locator('.pages label').nth(n).click()
        page.wait_for_function('(n) => document.querySelector(".sheet").dataset.name.endsWith("/" + n)', arg=n)
        assert page.locator('.sheet').evaluate('(n) => [...n.querySelectorAll("*")].every((e) => !/script|iframe|object|embed|style|link|base|form/i.test(e.tagName) && [...e.attributes].every((a) => !a.name.startsWith("on")))')
        assert page.locator('.sheet img').count() == 1 and page.locator('.sheet polygon').count() == 4
    assert page.locator('.sheet img').evaluate('(n) => n.decode().then(() => n.naturalWidth)') == 400
    box = page.locator('.sheet input').first
    box.fill('ACME <b>&"'), box.press('Tab')
    page.get_by_text('corrected: company').wait_for()
    assert page.locator('tr[data-place=company] [data-is=sure]').inner_text() == '✓ 1.00'
    saved = {}
    for name in ('LAS', 'Excel', 'JSON'):
        with page.expect_download() as d: page.locator('.save a', has_text=name).click()
        saved[name] = Path(d.value.path()).read_bytes()
    assert saved['LAS'][:2] == saved['Excel'][:2] == b'PK' and json.loads(saved['JSON'])[-1]['record']['fields']['company']['text'] == 'ACME <b>&"'
    assert str(served.root) not in saved['JSON'].decode()
    for theme in ('light', 'dark'):
        page.emulate_media(color_scheme=theme)
        page.wait_for_timeout(200)
        for part in ('.sheet', '.about', '.status', '.pages label span'): assert (worst := page.evaluate(CONTRAST, part))[0] >= 4.5, (theme, part, worst)
    page.locator('input[type=file]').first.set_input_files(drop(tmp_path, 'one more'))
    page.get_by_text('all 5 pages').wait_for() # and the page that was looked at stays
    assert page.locator('.sheet').get_attribute('data-name').endswith('/3') and [i.is_checked() for i in page.locator('.pages input').all()] == [n == 3 for n in range(5)]
    key = page.locator('.sheet').get_attribute('data-name').split('/')[0]
    assert ask(f'{served.url}sheet/{key}/0', **BEARER)[0] == 200
    page.goto('about:blank') # the tab is closed
    end = time.monotonic() + 60
    while ask(f'{served.url}sheet/{key}/0', **BEARER)[0] != 404: assert time.monotonic() < end; time.sleep(.1)
    assert served.left() == [] and not served.house.visits.all

def test_the_command(tmp_path):
    "It reads a first picture before it says where it is, and leaves nothing when it is ended"
    args = [sys.executable, '-m', 'welllog_ocr.app', '--model', 'PP-OCRv6-small', '--port', '0']
    app = subprocess.Popen(args, env=os.environ | dict(TMPDIR=str(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = app.stdout.readline()
    assert 'only browsers of this machine' in said and 'Well-log scans' in ask(said.split()[0])[1], app.stderr.read()
    assert ask(said.split()[0], Host='scans.example')[0] == 403 and len([*tmp_path.glob('*/in/rows')]) == 1
    app.terminate()
    assert app.wait(30) == 143 and [*tmp_path.iterdir()] == [] and app.stderr.read().count('\n') == 1

@share(3, 40)
def test_readers_are_killed(served, n, reliability):
    "At random times, while ten people wait for their scans: each scan is read, or its owner gets one message; nothing stays"
    rng, files, killed = random.Random(0), [*range(6 if n < 10 else 38)], 0
    def wait(who):
        mine = [(served.root/'up'/f'{who}-{i}'/'x.tif', f'{who}-{i}.tif') for i in files]
        for path, name in mine: path.parent.mkdir(), path.write_text(f'slow {name}')
        for _ in served.house.read_all(f'tab {who}', mine): pass
    people = [threading.Thread(target=wait, args=(who,)) for who in range(10)]
    for p in people: p.start()
    while killed < n:
        time.sleep(rng.uniform(.02, 1.2))
        assert any(p.is_alive() for p in people), f'{n - killed} kills had no time; more scans are needed'
        for child, _ in list(served.desk.readers.working.values()): child.process.kill(); killed += 1
    for p in people: p.join()
    visits = [served.house.visits.of(f'tab {who}') for who in range(10)]
    read, wrong = {r['file']: r['text'] for v in visits for r in v.rows}, [w for v in visits for w in v.wrong]
    assert all(text == f'slow {name}' for name, text in read.items()) and all('signal 9' in w for w in wrong) and len(wrong) <= killed
    assert sorted([*read, *(w.partition(':')[0] for w in wrong)]) == sorted(f'{who}-{i}.tif' for who in range(10) for i in files)
    for who in range(10): served.house.visits.forget(f'tab {who}')
    assert served.left() == []
    reliability('SIGKILL of the readers of the page to drop scans on, ten people at once', killed, killed, f'{len(read)} scans read, {len(wrong)} named to their owners')

@pytest.mark.soak
@needs_browser
def test_everything_hostile(page, client, served, tmp_path, reliability):
    "Each hostile text as a file name, as what stands on the scan, and as a correction"
    from gradio_client import handle_file
    enter(page, served)
    sent = [t.encode('utf-8', 'replace').decode().replace('\x00', '') for t in HOSTILE]
    page.locator('input[type=file]').first.set_input_files([dict(name=t[:120], mimeType='image/tiff', buffer=t.encode()) for t in sent])
    page.get_by_text(f'all {len(sent)} pages').wait_for()
    for n, text in enumerate(sent):
        page.locator('.pages label').nth(n).click()
        page.wait_for_function('(n) => document.querySelector(".sheet").dataset.name.endsWith("/" + n)', arg=n)
        assert page.locator('.sheet img').count() == 1 and page.locator('.sheet polygon').count() == 4, text
        page.locator('.sheet input').nth(1).fill(sent[n - 1]), page.locator('.sheet input').nth(1).press('Tab')
        page.locator('.sheet output', has_text='corrected').wait_for()
    for n, end in enumerate(('LAS', 'Excel', 'JSON')):
        with page.expect_download() as d: page.locator('.save a', has_text=end).click()
        assert len(Path(d.value.path()).read_bytes()) > 1000 and '/' not in d.value.suggested_filename
    for n, text in enumerate(sent):
        row, = client.predict(handle_file(drop(tmp_path, text)[0]), api_name='/read')
        assert row['text'] == text and client.predict(row['record'], api_name='/las').startswith('~V')
    assert page.ran == [] and served.left() == []
    reliability('hostile file names, texts and corrections through the page and its API', len(sent), len(sent), 'nothing runs, nothing left')
