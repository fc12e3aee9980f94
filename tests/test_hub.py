"""Data sets by name, against a hub of our own on this machine that fails as it is told to."""
import base64, hashlib, io, json, os, re, socket, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image, ImageDraw

from conftest import ROOT
from welllog_ocr.core import DataError
from welllog_ocr.files import write_json
from welllog_ocr.data.load import _inside, file_of, load_split

NAME = 'acme/headers'

def _png(text:str)->bytes:
    img = Image.new('L', (8*len(text) + 20, 32), 255)
    ImageDraw.Draw(img).text((10, 10), text, fill=0)
    f = io.BytesIO()
    img.save(f, 'PNG')
    return f.getvalue()

def _rows(*texts)->bytes:
    return ''.join(json.dumps(dict(image_base64=base64.b64encode(_png(t)).decode(), instruction='Read it', answer=t, filename=f'{i}.png')) + '\n' for i, t in enumerate(texts)).encode()

class Hub:
    "A hub with one data set. `script` holds what happens to the next requests: a status, 'hang', 'cut' or None for a true answer"
    def __init__(self):
        self.files = {'train.jsonl': _rows('FIELD WILDCAT', 'KB 912'), 'test.jsonl': _rows('COUNTY LEA'), 'setup.py': b'raise SystemExit'}
        self.sha, self.script, self.log, self.hang, self.models = 'a'*40, [], [], 0., {} # revision -> files of a model
        hub = self
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args): pass
            def do_HEAD(self): hub.answer(self)
            def do_GET(self): hub.answer(self)
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads, self.server.handle_error = True, lambda *args: None # clients that went away
        self.url = f'http://127.0.0.1:{self.server.server_port}'
        threading.Thread(target=self.server.serve_forever, args=(.02,), daemon=True).start()

    def answer(self, h):
        self.log.append((h.command, h.path))
        todo = self.script.pop(0) if self.script else None
        if todo == 'hang': threading.Event().wait(self.hang) # time.sleep is patched
        if isinstance(todo, int): return self.send(h, todo, b'{"error": "scripted"}', {'X-Error-Code': 'GatedRepo'} if todo == 403 else {})
        if f'/api/datasets/{NAME}' in h.path and '/tree/' not in h.path:
            siblings = [dict(rfilename=n) for n in self.files]
            return self.send(h, 200, json.dumps(dict(id=NAME, sha=self.sha, siblings=siblings, tags=[], private=False, gated=False, disabled=False, downloads=0, likes=0)).encode())
        if '/tree/' in h.path:
            return self.send(h, 200, json.dumps([dict(type='file', path=n, size=len(b), oid=hashlib.sha1(b).hexdigest()) for n, b in self.files.items()]).encode())
        m = re.fullmatch(rf'(?:/datasets)?/{NAME}/resolve/(\w+)/(.+)', h.path)
        files = self.files if '/datasets/' in h.path else self.models.get(m and m[1], {})
        if not m or m[2] not in files: return self.send(h, 404, b'{}', {'X-Error-Code': 'EntryNotFound' if files else 'RepoNotFound'})
        data = files[m[2]]
        self.send(h, 200, data, {'X-Repo-Commit': m[1].replace('main', self.sha), 'ETag': f'"{hashlib.sha1(data).hexdigest()}"'}, cut=todo == 'cut')

    def send(self, h, status:int, data:bytes, headers:dict={}, cut:bool=False):
        h.send_response(status)
        for k, v in (headers | {'Content-Type': 'application/json', 'Content-Length': str(len(data))}).items(): h.send_header(k, v)
        h.end_headers()
        if h.command == 'GET': h.wfile.write(data[:len(data)//2] if cut else data)

@pytest.fixture
def hub(tmp_path, monkeypatch):
    from huggingface_hub import constants
    from huggingface_hub.utils import _http
    hub = Hub()
    hub.outside = tmp_path/'outside.png'
    hub.outside.write_bytes(_png('KEEP OUT'))
    monkeypatch.setenv('HF_ENDPOINT', hub.url)
    monkeypatch.delenv('HF_TOKEN', raising=False)
    for name, value in dict(HF_HUB_OFFLINE=False, HF_HOME=str(tmp_path/'home'), HF_HUB_CACHE=str(tmp_path/'home/hub'), HF_XET_CACHE=str(tmp_path/'xet')).items(): monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(_http.time, 'sleep', lambda s: None) # the client's own patience
    yield hub
    hub.server.shutdown()
    hub.server.server_close()

@pytest.fixture
def waits(monkeypatch):
    "Seconds waited between tries to reach the hub"
    found = []
    monkeypatch.setattr('welllog_ocr.data.hub.sleep', found.append)
    return found

@pytest.fixture
def load(waits):
    from welllog_ocr.data.load import load_data
    def call(**kw): return load_data(NAME, **kw)
    call.waits = waits
    return call

def test_a_name_gives_the_files_of_one_commit(hub, load):
    data = load()
    assert [[s.text for s in split] for split in data[:2]] == [['FIELD WILDCAT', 'KB 912'], ['COUNTY LEA']]
    assert data.origin == f'{NAME}@{hub.sha}' == data.train[0].info['origin']
    assert data.train[0].image.size == data.train[0].size
    assert load.waits == []
    asked = [path for _, path in hub.log if '/resolve/' in path]
    assert asked and all(f'/resolve/{hub.sha}/' in path for path in asked)
    assert not any('setup.py' in path for _, path in hub.log), 'code was fetched'

@pytest.mark.parametrize('layout', ['{}', 'data/{}'])
def test_image_files_are_links_into_the_cache_and_are_read(hub, load, layout):
    hub.files = {}
    for split in ('train', 'validation'):
        where = layout.format(split)
        hub.files |= {f'{where}/metadata.csv': b'file_name,text\na.PNG,KB 912\nmore/b.png,GL 900\n', f'{where}/a.PNG': _png('KB 912'), f'{where}/more/b.png': _png(f'GL 900 {split}')}
    data = load()
    assert [len(data.train), len(data.eval), data.skips, data.leaks] == [2, 2, [], []]
    file = file_of(data.train[0])
    assert file.is_symlink() and '/blobs/' in str(file.resolve()), 'the test lays files out otherwise than the client does'
    assert data.train[1].image.size == data.train[1].size
    assert [s.digest for s in load_split(file.parent)[0]] == [s.digest for s in data.train], 'a snapshot that is named as a folder'
    (file.parent/'a.PNG').unlink()
    (file.parent/'a.PNG').symlink_to(hub.outside)
    with pytest.raises(DataError, match='points outside the data folder, as it is a link to .*outside.png'): _inside(file.parent.resolve(), 'a.PNG')

def test_pairs_of_image_and_text_on_the_hub(hub, load):
    hub.files = {f'train/{i}.{end}': data for i in range(3) for end, data in (('png', _png(f'KB {i}')), ('gt.txt', f'KB {i}\n'.encode()))}
    data = load()
    assert sorted(s.text for s in data.train + data.eval) == ['KB 0', 'KB 1', 'KB 2']

@pytest.mark.parametrize('status', [500, 502, 503, 504, 429, 408])
def test_a_hub_in_trouble_is_asked_again(hub, load, status):
    hub.script = [status, status]
    assert len(load().train) == 2
    assert load.waits == [1, 2]

@pytest.mark.parametrize('status', [500, 429])
def test_a_hub_that_stays_in_trouble_leads_to_the_cache_or_an_error(hub, load, status):
    hub.script = [status]*1000
    with pytest.raises(DataError, match='cannot be reached.*not in the cache'): load()
    assert load.waits == [1, 2, 4]
    hub.script = []
    first, sha = load(), hub.sha
    hub.script, hub.sha = [status]*1000, 'b'*40
    with pytest.warns(UserWarning, match='from the cache'): again = load()
    assert again.origin.endswith(sha) and [s.digest for s in again.train] == [s.digest for s in first.train]

@pytest.mark.parametrize('status,why', [(401, 'HF_TOKEN is missing'), (403, 'granted'), (404, 'does not exist'), (410, 'HTTP 410')])
def test_a_hub_that_says_no_is_asked_once(hub, load, status, why):
    load() # even with a copy in the cache
    hub.log.clear()
    hub.script = [status]*1000
    with pytest.raises(DataError, match=why): load()
    assert load.waits == [] and len(hub.log) == 1

def test_nobody_listens(hub, load, monkeypatch):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        monkeypatch.setenv('HF_ENDPOINT', f'http://127.0.0.1:{s.getsockname()[1]}')
        with pytest.raises(DataError, match='cannot be reached'): load()
    assert load.waits == [1, 2, 4]

def test_a_name_that_does_not_resolve(hub, load, monkeypatch):
    monkeypatch.setenv('HF_ENDPOINT', 'http://hub.invalid')
    with pytest.raises(DataError, match='cannot be reached'): load()
    assert load.waits == [1, 2, 4]

def test_a_hub_that_hangs_is_not_waited_for(hub, waits):
    from welllog_ocr.data.hub import hub_folder
    hub.script, hub.hang = ['hang']*100, 3
    start = time.monotonic()
    with pytest.raises(DataError, match='cannot be reached'): hub_folder(NAME, timeout=.1)
    assert waits == [1, 2, 4] and time.monotonic() - start < 3

def test_a_download_that_breaks_off_is_taken_up_again(hub, load):
    hub.files['train.jsonl'] = _rows(*(f'DEPTH {i} FT' for i in range(200)))
    def cut_the_first(h, real=hub.answer):
        if h.command == 'GET' and '/resolve/' in h.path and not hub.cut: hub.cut, hub.script = True, ['cut']
        real(h)
    hub.cut, hub.answer = False, cut_the_first
    assert len(load().train) == 200 and hub.cut

def test_a_branch_that_moved_is_another_data_set(hub, load):
    from welllog_ocr.data.sample import fingerprint
    first = load()
    hub.files, hub.sha = dict(hub.files, **{'train.jsonl': _rows('FIELD WILDCAT', 'KB 913')}), 'b'*40
    second = load()
    assert first.origin != second.origin and fingerprint(first.train) != fingerprint(second.train)
    hub.log.clear()
    hub.script = [404]*100 # the old commit is gone from the hub, or the pin is wrong
    with pytest.raises(DataError, match='404'): load(revision='a'*40)

def test_a_pinned_commit_is_what_is_asked_for(hub, load):
    load(revision='a'*40)
    assert all('a'*40 in path for _, path in hub.log)

def test_offline_reads_the_cache_without_asking(hub, load, monkeypatch):
    from huggingface_hub import constants
    first = load()
    hub.log.clear()
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    with pytest.warns(UserWarning, match='HF_HUB_OFFLINE'): assert load().origin == first.origin
    assert hub.log == [] and load.waits == []

def test_the_environment_names_the_hub(hub, tmp_path):
    "As a user has it: a fresh process, and nothing patched"
    code = f"from welllog_ocr.data.load import load_data; d = load_data('{NAME}'); print(len(d.train), d.origin)"
    env  = os.environ | dict(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path/'fresh'), HF_HUB_OFFLINE='0', PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == f'2 {NAME}@{hub.sha}', done.stderr

# --- models

@pytest.fixture
def reader(hub, tmp_path, monkeypatch):
    "A model on the hub: called with a seed and a commit, the main branch moves there"
    from huggingface_hub import constants
    from welllog_ocr.models.ctc import tiny_ctc
    monkeypatch.setattr(constants, 'ENDPOINT', hub.url)
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', hub.url + '/{repo_id}/resolve/{revision}/{filename}')
    def push(seed, sha):
        tiny_ctc(seed=seed).save_pretrained(tmp_path/sha)
        hub.models[sha] = {p.name: p.read_bytes() for p in (tmp_path/sha).iterdir()}
        hub.models['main'] = hub.models[sha]
        hub.sha = sha
    return push

def weights(rec): return next(iter(rec.state_dict().values())).flatten()[:3].tolist()

def test_the_commit_of_a_model_is_kept_and_another_is_no_resume(hub, reader, tmp_path, monkeypatch):
    from huggingface_hub import constants
    from welllog_ocr.config import TrainingConfig
    from welllog_ocr.core import ConfigError, SetupError
    from welllog_ocr.models.core import adapter_base, load_model, load_recogniser
    from welllog_ocr.run.folder import same_run
    from welllog_ocr.run.state import find_checkpoint
    from welllog_ocr.run.samples import run_data
    from welllog_ocr.read.backends import model_id
    a, b = 'a'*40, 'b'*40
    reader(1, a)
    cfg = TrainingConfig(model_name=NAME, output_dir=str(tmp_path/'runs'), synth_lines=2, synth_eval_lines=2)
    first = load_model(cfg)
    data  = run_data(cfg, first)
    assert first.origin == data.model == model_id(NAME) == f'{NAME}@{a}'
    cfg.run_dir.mkdir(parents=True)
    find_checkpoint(cfg, data)
    reader(2, b)
    moved = load_model(cfg)
    assert moved.origin == f'{NAME}@{b}' and weights(moved) != weights(first)
    with pytest.raises(ConfigError, match=f'started with the model {NAME}@{a}, and now it would be {NAME}@{b}.*set model_revision={a}'): same_run(cfg, run_data(cfg, moved))
    held = cfg.replace(model_revision=a)
    again = load_model(held)
    assert weights(again) == weights(first) == weights(load_recogniser(f'{NAME}@{a}'))
    assert same_run(held, run_data(held, again))[0]['model_origin'] == f'{NAME}@{a}'
    with pytest.raises(SetupError, match=f'{NAME}@v9'): load_model(cfg.replace(model_revision='v9'))
    (tmp_path/'adapter').mkdir()
    write_json(tmp_path/'adapter/adapter_config.json', dict(peft_type='LORA', base_model_name_or_path=NAME, revision=a))
    assert adapter_base(str(tmp_path/'adapter')) == f'{NAME}@{a}'
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    assert load_model(cfg).origin == f'{NAME}@{b}'
