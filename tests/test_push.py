"""Models and data sets on a hub of our own on this machine, which refuses, breaks off and keeps what it was sent"""
import base64, hashlib, json, re, shutil, socket, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import yaml
from PIL import Image, PngImagePlugin

from hostile import HOSTILE
from welllog_ocr.core import ConfigError, DataError, SetupError, WelllogError
from welllog_ocr.data.load import load_data
from welllog_ocr.files import write_json, write_jsonl
from welllog_ocr.push import data_parcel, model_parcel, push

TOKEN = 'hf_CANARYcanaryCANARYcanaryCANARY99'

class Hub:
    "`script`: what happens to the next requests that write: a status, 'cut', or None; `storage`: large files that arrived"
    def __init__(self):
        self.repos, self.storage, self.script, self.log, hub = {}, {}, [], [], self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            def log_message(self, *args): pass
            def do_GET(self): hub.take(self)
            do_HEAD = do_POST = do_PUT = do_GET
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads, self.server.handle_error = True, lambda *args: None
        self.url = f'http://127.0.0.1:{self.server.server_port}'
        threading.Thread(target=self.server.serve_forever, args=(.02,), daemon=True).start()

    def take(self, h):
        body = h.rfile.read(int(h.headers.get('Content-Length') or 0))
        self.log.append((h.command, h.path, h.headers.get('Authorization')))
        todo = self.script.pop(0) if self.script and h.command != 'GET' else None
        if todo == 'cut':
            h.close_connection = True
            return h.connection.shutdown(socket.SHUT_RDWR)
        code, found = (todo, dict(error='scripted')) if todo else self.answer(h.path.partition('?')[0], body)
        data = json.dumps(found).encode()
        h.send_response(code), h.send_header('Content-Length', str(len(data))), h.send_header('Content-Type', 'application/json')
        if code == 404 and h.command == 'GET': h.send_header('X-Error-Code', 'RepoNotFound')
        h.end_headers(), h.wfile.write(data)

    def answer(self, path, body):
        if path == '/api/repos/create':
            said = json.loads(body)
            self.repos[f'{said["organization"]}/{said["name"]}'] = dict(files={'.gitattributes': b'x'}, private=said.get('visibility') == 'private' or said.get('private', False), type=said['type'])
            return 200, dict(url=f'{self.url}/{said["organization"]}/{said["name"]}', id='x')
        if path == '/api/validate-yaml':
            yaml.safe_load(json.loads(body)['content'].split('---')[1])
            return 200, {}
        if path.startswith('/put/'):
            self.storage[path[5:]] = body
            return 200, {}
        if path.endswith('/info/lfs/objects/batch'):
            given = lambda o: {} if o['oid'] in self.storage else dict(actions=dict(upload=dict(href=f'{self.url}/put/{o["oid"]}')))
            return 200, dict(transfer='basic', objects=[dict(o, **given(o)) for o in json.loads(body)['objects']])
        m = re.fullmatch(r'/api/(?:models|datasets)/([\w.-]+/[\w.-]+)(?:/(preupload|commit|revision)/main)?', path)
        repo = self.repos.get(m and m[1])
        if repo is None: return 404, {}
        if m[2] == 'preupload': return 200, dict(files=[dict(path=f['path'], uploadMode='lfs' if f['path'].endswith(('.safetensors', '.png')) else 'regular', shouldIgnore=False, oid=None) for f in json.loads(body)['files']])
        if m[2] == 'commit': return 200, self.commit(m[1], repo['files'], [json.loads(l) for l in body.splitlines()])
        return 200, dict(id=m[1], sha='a'*40, private=repo['private'], siblings=[self.shown(*f) for f in repo['files'].items()])

    def shown(self, name, data):
        large = dict(lfs=dict(sha256=hashlib.sha256(data).hexdigest(), size=len(data), pointerSize=1)) if name.endswith(('.safetensors', '.png')) else {}
        return dict(rfilename=name, size=len(data), blobId=hashlib.sha1(b'blob %d\0' % len(data) + data).hexdigest(), **large)

    def commit(self, name, files, lines):
        for l in lines:
            v = l['value']
            if l['key'] == 'file': files[v['path']] = base64.b64decode(v['content'])
            if l['key'] == 'lfsFile': files[v['path']] = self.storage[v['oid']]
            if l['key'] == 'deletedFile': files.pop(v['path'])
        return dict(commitUrl=f'{self.url}/{name}/commit/{"a"*40}', commitOid='a'*40)

@pytest.fixture
def hub(tmp_path, monkeypatch):
    from huggingface_hub import constants
    from huggingface_hub.utils import _http
    hub = Hub()
    monkeypatch.setenv('HF_ENDPOINT', hub.url), monkeypatch.setenv('HF_TOKEN', TOKEN)
    for name, value in dict(ENDPOINT=hub.url, HF_HUB_OFFLINE=False, HF_HUB_DISABLE_XET=True, HF_TOKEN_PATH=str(tmp_path/'token')).items(): monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(_http.time, 'sleep', lambda s: None) # the client's own patience, and ours
    yield hub
    hub.server.shutdown(), hub.server.server_close()

@pytest.fixture
def model(tmp_path):
    "A run with an evaluation, whose best/ holds what a model is made of, and more"
    run, best = tmp_path/'runs/x', tmp_path/'runs/x/best'
    best.mkdir(parents=True), (run/'eval').mkdir()
    for n in ('config.json', 'model.safetensors', 'language.json', '.env', 'notes.pkl'): (best/n).write_text('{}')
    row = lambda i, cer: dict(id=f's{i}', loss=1., n_tokens=3, cer=cer, wer=cer, exact=not cer, reference='KB 9', prediction='KB 8', confidence=.9, group=f'w{i}', kind='line', style='typed')
    for step, cer in ((0, .5), (50, .25)): write_jsonl(run/f'eval/step-{step:08}.jsonl', [row(i, cer) for i in range(4)])
    write_json(run/'run.json', dict(run_id='5ea1', data_fingerprint='f1'*9, versions={}, data_origin='/home/me/secret-client'))
    write_json(run/'config.json', dict(experiment_name='x', model_name='/home/me/models/base"\n: x'))
    write_jsonl(run/'events.jsonl', [dict(event='best', step=50)])
    return run

def front(card): return yaml.safe_load(card.split('\n---')[0])

def test_a_run_goes_as_its_best_model(hub, model, capsys):
    assert push(model, 'me/reader', licence='apache-2.0') == f'{hub.url}/me/reader'
    repo = hub.repos['me/reader']
    assert repo['private'] and set(repo['files']) == {'.gitattributes', 'README.md', 'config.json', 'model.safetensors', 'language.json'}
    card, said = repo['files']['README.md'].decode(), capsys.readouterr().out
    told = front(card)
    assert told['license'] == 'apache-2.0' and told['inference'] is False and 'base_model' not in told
    assert {m['type']: m['value'] for m in told['model-index'][0]['results'][0]['metrics']} == dict(cer=.25, wer=.5, exact=0.)
    assert "load_recogniser('me/reader')" in card and '--model me/reader' in card and '/home/me' not in card
    assert 'stays  notes.pkl' in said and TOKEN not in said + card and all(auth == f'Bearer {TOKEN}' for _, p, auth in hub.log if '/me/' in p)
    push(model, 'me/reader', licence='apache-2.0') # the same once more is no clash

def test_a_dry_run_shows_everything_and_asks_nobody(hub, model, capsys):
    assert push(model, 'me/reader', dry_run=True) == '' and hub.log == []
    said = capsys.readouterr().out
    for what in ('private', 'model.safetensors', 'stays  .env', 'in 4 files', '## Metrics'): assert what in said

@pytest.mark.parametrize('script,why', [([401], 'token is missing or wrong.*hf auth login'), ([403], 'may not write there'), ([404], 'no such user'), ([402], 'storage of the account is full'), ([409], 'somebody else'), ([None, None, None, 413], 'a file is too large'), ([503]*99, 'cannot be reached'), (['cut']*99, 'cannot be reached, or broke off')])
def test_a_hub_that_refuses_is_one_message(hub, model, script, why):
    before = sorted(p.name for p in model.rglob('*'))
    hub.script = list(script)
    with pytest.raises(SetupError, match=why) as e: push(model, 'me/reader')
    assert TOKEN not in str(e.value) and before == sorted(p.name for p in model.rglob('*'))
    hub.script = []
    assert push(model, 'me/reader') # nothing stands in the way of trying again

def test_an_upload_that_was_cut_off_goes_on(hub, model):
    hub.script = [None, None, None, None, None, 'cut', 'cut', 'cut', 'cut', 'cut', 'cut', 'cut', 'cut', 'cut']
    with pytest.raises(SetupError, match='goes on where it was'): push(model, 'me/reader')
    hub.script, sent = [], len([1 for m, p, _ in hub.log if '/put/' in p])
    push(model, 'me/reader')
    assert sent == len([1 for m, p, _ in hub.log if '/put/' in p]) == 1 and 'README.md' in hub.repos['me/reader']['files'], 'weights that had arrived were sent again'

def test_what_is_there_is_not_replaced_unasked(hub, model):
    push(model, 'me/reader')
    (model/'best/model.safetensors').write_text('other')
    with pytest.raises(ConfigError, match='something else .model.safetensors.*--update'): push(model, 'me/reader')
    hub.repos['me/reader']['files']['adapter_model.safetensors'] = b'old'
    push(model, 'me/reader', update=True)
    assert hub.repos['me/reader']['files']['model.safetensors'] == b'other' and 'adapter_model.safetensors' not in hub.repos['me/reader']['files']
    hub.repos['me/reader']['private'] = False
    with pytest.raises(ConfigError, match='everybody can see it'): push(model, 'me/reader', update=True)

@pytest.mark.parametrize('name', ['reader', 'me/..', '../me', 'me/a b', 'me/x?y', 'me/<script>', 'a/b/c', 'me/\u202ex', ''])
def test_a_name_that_is_none(hub, model, name):
    with pytest.raises(ConfigError, match='is no name on the hub'): push(model, name)
    assert hub.log == []

def test_models_that_are_not_passed_on(hub, model, tmp_path, monkeypatch):
    monkeypatch.delenv('HF_TOKEN')
    with pytest.raises(SetupError, match='no token'): push(model, 'me/reader')
    write_json(model/'best/config.json', dict(note='hf_CANARYcanaryCANARYcanary0001'))
    with pytest.raises(DataError, match='config.json: holds what looks like a key'): model_parcel(model, 'me/reader')
    (model/'best/config.json').rename(model/'best/adapter_config.json')
    write_json(model/'best/adapter_config.json', dict(base_model_name_or_path=str(tmp_path)))
    with pytest.raises(ConfigError, match='lies on this machine.*--merged'): model_parcel(model, 'me/reader')
    write_json(model/'best/adapter_config.json', dict(base_model_name_or_path='Qwen/Qwen3-VL-2B'))
    assert front(model_parcel(model, 'me/reader').card)['library_name'] == 'peft'
    def merge(folder, out):
        shutil.copytree(folder, out, ignore=lambda d, names: ['adapter_config.json'])
        write_json(out/'config.json', {})
        return out
    monkeypatch.setitem(sys.modules, 'welllog_ocr.merge', SimpleNamespace(merge=merge))
    write_json(model/'best/adapter_config.json', dict(base_model_name_or_path=str(tmp_path)))
    whole = model_parcel(model, 'me/reader', merged=tmp_path/'merged')
    assert 'config.json' in whole.files and 'adapter_config.json' not in whole.files and front(whole.card)['library_name'] == 'transformers'
    (model/'best/adapter_config.json').rename(model/'best/config.json')
    (model/'best/model.safetensors').unlink(), (model/'best/model.safetensors').symlink_to('/etc/hostname')
    with pytest.raises(DataError, match='links to files elsewhere'): model_parcel(model, 'me/reader')
    shutil.rmtree(model/'best')
    with pytest.raises(DataError, match='has no best/ yet'): push(model, 'me/reader')
    with pytest.raises(WelllogError, match='no such folder'): push(tmp_path/'none', 'me/reader')

# --- data

def lines(folder, rows):
    folder.mkdir(parents=True)
    for i, r in enumerate(rows): Image.new('L', (60 + i, 20), 255).save(folder/f'{i}.png')
    write_jsonl(folder/'metadata.jsonl', [dict(dict(file_name=f'{i}.png', text=f'KB {i}', licence='cc0-1.0'), **r) for i, r in enumerate(rows)])
    return folder.parent

def test_a_data_set_comes_back_as_it_went(hub, tmp_path):
    data = lines(tmp_path/'d/train', [dict(text=t, group=f'w{i}', source='USGS|<b>', reviewer='me@example.org') for i, t in enumerate(HOSTILE[:12])])
    lines(tmp_path/'d/eval', [dict(group='held', licence='CC-BY-4.0 of the state')])
    noted = PngImagePlugin.PngInfo()
    noted.add_text('Author', 'Jane Doe')
    Image.new('L', (99, 20), 255).save(data/'train/0.png', pnginfo=noted)
    push(data, 'me/lines', public=True)
    repo = hub.repos['me/lines']
    assert not repo['private'] and repo['type'] == 'dataset' and not any(b'Jane Doe' in f or b'example.org' in f for f in repo['files'].values())
    for n, f in repo['files'].items():
        assert re.fullmatch(r'[\w./-]+', n) and '..' not in n
        (tmp_path/'back'/n).parent.mkdir(parents=True, exist_ok=True), (tmp_path/'back'/n).write_bytes(f)
    there, back = load_data(data), load_data(tmp_path/'back')
    for a, b in ((there.train, back.train), (there.eval, back.eval)):
        assert [(s.text, s.group, s.id, s.image.tobytes()) for s in a] == [(s.text, s.group, s.id, s.image.tobytes()) for s in b]
    card = repo['files']['README.md'].decode()
    assert front(card)['license'] == 'other' and 'CC-BY-4.0 of the state' in front(card)['license_name'] and '<b>' not in card.replace(r'\<', '')

def test_only_rows_with_a_licence_that_are_marked(hub, tmp_path):
    data = lines(tmp_path/'d/train', [dict(), dict(licence='unknown'), dict(licence=None), dict(licence='All rights reserved')])
    with pytest.raises(DataError, match='3 rows have no licence .1.png, 2.png, 3.png'): push(data, 'me/lines')
    assert hub.log == []
    with pytest.raises(DataError, match='2 rows have no licence .1.png, 3.png'): push(data, 'me/lines', licence='pddl') # what a row says stays
    parcel = data_parcel(lines(tmp_path/'g/train', [dict(), dict(licence=None)]), 'me/lines', tmp_path/'home', 'pddl')
    assert front(parcel.card)['license'] == ['cc0-1.0', 'pddl']
    data = lines(tmp_path/'e/train', [dict(shareable='yes'), dict(shareable=True), dict(shareable='no', licence=''), dict()])
    parcel = data_parcel(data, 'me/lines', tmp_path/'home')
    assert [json.loads(l)['text'] for l in parcel.files['train/metadata.jsonl'].splitlines()] == ['KB 0', 'KB 1'] and '2 rows of the data folder were left out' in parcel.card
    data = lines(tmp_path/'f/train', [dict(shareable='')])
    with pytest.raises(DataError, match='no row is marked'): push(data, 'me/lines')

def test_pictures_first_and_a_cut_goes_on(hub, tmp_path, monkeypatch):
    monkeypatch.setattr('welllog_ocr.push.AT_ONCE', 2)
    data = lines(tmp_path/'d/train', [dict() for _ in range(5)])
    hub.script = [None]*9 + ['cut']*99
    with pytest.raises(SetupError, match='goes on'): push(data, 'me/lines')
    assert 'train/metadata.jsonl' not in hub.repos['me/lines']['files'] and 0 < len(hub.repos['me/lines']['files']) - 1 < 5
    hub.script = []
    push(data, 'me/lines')
    assert len(hub.repos['me/lines']['files']) == 1 + 5 + 2

def test_the_command(hub, model):
    done = subprocess.run([sys.executable, '-m', 'welllog_ocr.push', str(model), 'me/reader', '--dry-run'], capture_output=True, text=True)
    assert done.returncode == 0 and 'would be sent to me/reader, model, private' in done.stdout and TOKEN not in done.stdout + done.stderr, done.stderr
