"""A model on a server: what a server does on a bad day, and the real `transformers serve`."""
import json, math, socket, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image
from welllog_ocr.core import ConfigError, SetupError
from welllog_ocr.draw.line import SynthLines
from welllog_ocr.eval.gate import check_server, server_rows
from welllog_ocr.models.server import MOST, UNKNOWN, ServerReader, sized
from welllog_ocr.models.vlm import tiny_chat
from welllog_ocr.predict import predict
from welllog_ocr.read.backends import Read, model_id, open_reader

PICTURES = [np.full((32, 200), v, np.uint8) for v in (90, 120, 150)]
def is_trial(body): return body.get('max_tokens') == 8
def has_picture(body): return len(body['messages'][0]['content']) == 2
def chat(text, end='stop', logprobs=(-.1,), **more):
    return dict(choices=[dict(message=dict(content=text), finish_reason=end, logprobs=logprobs and dict(content=[dict(token='x', logprob=p) for p in logprobs]))]) | more

class Fake:
    "A server whose `answer(body)` gives a status and what is sent, or a function that writes it"
    def __init__(self, answer, models=({'id': 'wells', 'root': '/runs/1'},), listing=None):
        self.bodies, self.headers, fake = [], [], self
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *a): pass
            def reply(self, status, found, **headers):
                data = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(status)
                for k, v in headers.items(): self.send_header(k.replace('_', '-'), v)
                self.send_header('Content-Length', str(len(data))); self.end_headers(); self.wfile.write(data)
            def do_GET(self): self.reply(*(listing or (200, dict(data=list(models)))))
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
                fake.bodies.append(body); fake.headers.append(dict(self.headers))
                found = answer(body)
                found(self) if callable(found) else self.reply(*found[:2], **(found[2] if len(found) > 2 else {}))
        self.http = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(.02,), daemon=True).start()
        self.url = f'http://127.0.0.1:{self.http.server_port}/v1'
    def stop(self): self.http.shutdown(); self.http.server_close()

@pytest.fixture
def fake():
    made = []
    def make(answer, **kw): made.append(Fake(answer, **kw)); return made[-1]
    yield make
    for f in made: f.stop()

def quick(fake, name='', **how): return ServerReader(fake.url + name, **dict(pause=.01, timeout=5.) | how)

@pytest.mark.parametrize('trouble', ['500', '503', '429', 'reset', 'no json', 'late'])
def test_trouble_that_passes_is_outlasted(fake, trouble):
    bad = {'500': (500, {}), '503': (503, b'<html>'), '429': (429, {}, dict(Retry_After='0.01')), 'no json': (502, b'gateway'),
           'reset': lambda h: h.connection.shutdown(socket.SHUT_RDWR), 'late': lambda h: time.sleep(.6)}[trouble]
    asked = []
    def answer(body):
        if is_trial(body): return 200, chat('')
        asked.append(1)
        return bad if len(asked) == 1 else (200, chat('KB 912'))
    assert [r.text for r in quick(fake(answer), timeout=.4)(PICTURES)] == ['KB 912']*3
    assert len(asked) == 4

@pytest.mark.parametrize('text,end,note', [
    ('KB 912\n'*200, 'stop', 'repeats'), ('KB 912\n'*200, 'length', 'repeats'), ('KB 912' + ' '*700, 'stop', 'repeats'), ('\n'*700, 'length', 'repeats'),
    ('a' + '| |'*400 + ' end', 'stop', 'repeats'), ('KB 91', 'length', 'cut_off'), ('KB', 'content_filter', 'cut_off'), ('.'*100 + ' KB 912', 'stop', ''), ('ABC '*40, 'stop', 'repeats'), ('', 'stop', '')])
def test_an_answer_that_went_wrong_is_kept_and_marked(fake, text, end, note):
    found = quick(fake(lambda b: (200, chat(text, end))))(PICTURES[:1])[0]
    assert (found.note, found.error) == (note, '')
    assert (found.confidence == 0) == bool(note) and len(found.text) <= max(60, len(text)*(note != 'repeats' or 'end' in text))

@pytest.mark.parametrize('logprobs,sure', [((math.log(.5), math.log(.8)), .4), ((-9999.,), 0.), (None, UNKNOWN), ((), UNKNOWN), ((None,), UNKNOWN), ((float('nan'),), UNKNOWN)])
def test_the_confidence_is_that_of_all_tokens(fake, logprobs, sure):
    assert quick(fake(lambda b: (200, chat('KB', logprobs=logprobs))))(PICTURES[:1])[0].confidence == pytest.approx(sure)

def test_the_fullest_request_that_a_server_takes_is_used(fake, tmp_path):
    tiny_chat(instruction='Read.', min_pixels=4096, max_pixels=65536, max_new_tokens=40).save_pretrained(tmp_path)
    for takes in ({'logprobs', 'repetition_penalty', 'mm_processor_kwargs'}, {'logprobs'}, set()):
        server = fake(lambda b: (200, chat('KB')) if not {'logprobs', 'repetition_penalty', 'mm_processor_kwargs'} & b.keys() - takes else (422, {'detail': 'unexpected'}))
        reader = quick(server, f'#wells={tmp_path}')
        assert reader(PICTURES[:1])[0].text == 'KB'
        body = server.bodies[-1]
        assert body['temperature'] == 0 and body['max_tokens'] == 40 and body['messages'][0]['content'][1]['text'] == 'Read.'
        assert {'logprobs', 'repetition_penalty', 'mm_processor_kwargs'} & body.keys() == takes
    assert server.bodies and reader.at.model == 'wells'

def test_kinds_have_their_own_questions_and_lengths(fake):
    server = fake(lambda b: (400, {'error': {'message': 'max_tokens 4096 exceeds the context of 3000'}}) if b.get('max_tokens', 0) > 3000 else (200, chat('{}')))
    reader = quick(server)
    for kind in reader.kinds: assert reader(PICTURES[:1], kind)[0].text == '{}'
    asked = {b['messages'][0]['content'][1]['text']: b.get('max_tokens') for b in server.bodies if not is_trial(b) and has_picture(b)}
    assert list(asked.values()) == [MOST['line'], MOST['block'], None, None] # what is longer than the context is cut off by the server

@pytest.mark.parametrize('answer,kw,name,why', [
    (lambda b: (200, b'<!doctype html><html>'), dict(listing=(200, b'<html></html>')), '', 'no OpenAI-compatible API'),
    (lambda b: (404, b'<html>'), dict(listing=(404, b'<html></html>')), '', 'mostly ends with /v1'),
    (lambda b: (404, {'error': 'no such model'}) if b['model'] != 'wells' else (200, chat('')), {}, '#well', r"no model 'well'.*lists wells"),
    (lambda b: (200, chat('')), {}, '#well', 'answers to any name'),
    (lambda b: (422, {'detail': 'unexpected fields'}) if 'repetition_penalty' in b else (400, {'detail': 'pinned to a'}), dict(models=()), '#b', "no model 'b' .400: pinned to a"),
    (lambda b: (200, chat('')), dict(models=({'id': 'a'}, {'id': 'b'})), '', 'which model.*a, b'),
    (lambda b: (400, {'error': 'not a multimodal model'}) if has_picture(b) else (200, chat('')), {}, '', 'takes no pictures.*not a multimodal'),
    (lambda b: (500, {'error': 'image input is not supported'}) if has_picture(b) else (200, chat('')), {}, '', 'takes no pictures'),
    (lambda b: (200, chat('', usage=dict(prompt_tokens=9))), {}, '', 'takes no pictures.*as long without'),
    (lambda b: (401, {'error': 'no key'}), {}, '', 'WELLLOG_OCR_API_KEY'), (lambda b: (401, {}), dict(listing=(403, {})), '', 'WELLLOG_OCR_API_KEY'),
    (lambda b: (200, {'no': 'choices'}), {}, '', 'does not answer'), (lambda b: (200, b'x'*2**25), {}, '', 'longer than 16 MB')])
def test_what_cannot_work_is_one_message(fake, answer, kw, name, why):
    with pytest.raises((SetupError, ConfigError), match=why): quick(fake(answer, **kw), name)

def test_a_list_that_fails_means_nothing(fake): # as that of `transformers serve` without a cache of the hub
    assert quick(fake(lambda b: (200, chat('KB')) if b['model'] == 'a' else (400, {}), listing=(500, b'Internal Server Error')), '#a')(PICTURES[:1])[0].text == 'KB'

def test_an_answer_without_end_costs_its_time_and_no_more(fake):
    def endless(h):
        h.send_response(200); h.end_headers()
        try:
            while True: h.wfile.write(b' '); time.sleep(.02)
        except OSError: pass
    reader = quick(fake(lambda b: (200, chat('')) if is_trial(b) else endless), timeout=.3)
    assert 'no answer within 0.3 s' in reader(PICTURES[:1])[0].error

def scans(folder, n=3):
    folder.mkdir()
    for k in range(n): Image.new('L', (200 + k, 32), 255).save(folder/f'{k}.png')
    return [folder]

def test_a_page_that_gets_no_answer_is_an_error_and_the_run_goes_on(fake, tmp_path):
    def answer(body): # the second scan is 201 pixels wide
        if is_trial(body): return 200, chat('')
        wide = __import__('base64').b64decode(body['messages'][0]['content'][0]['image_url']['url'].partition(',')[2])[16:20]
        return (500, {'error': 'out of memory'}) if int.from_bytes(wide) == 201 else (200, chat('KB 912'*300 if int.from_bytes(wide) == 202 else 'KB 912'))
    rows = list(predict(quick(fake(answer), tries=2), scans(tmp_path/'s'), overlays=tmp_path/'o'))
    assert [r.get('text') for r in rows] == ['KB 912', None, 'KB 912'] and 'out of memory' in rows[1]['error'] and 'lines' not in rows[1]
    assert [r['lines'][0].get('flags') for r in rows[::2]] == [None, ['repeats']] and rows[2]['confidence'] == 0

@pytest.mark.parametrize('owner', [[(0, 0), (0, 0)], [(0, 1), (0, 3)], [(0, 3), (0, 1)]])
def test_no_part_and_no_way_up_of_a_line_hides_an_error(owner): # parts of a long line; a line on its end, read both ways
    from welllog_ocr.read.page import Page, first_reading
    page = Page('a.png', 0, dict(kind='line'), [np.zeros((4, 2))], PICTURES[:2], owner, None)
    for reads in ([Read('KB', .9), Read(error='busy')], [Read(error='busy'), Read('KB', .9)]): assert first_reading(page, reads)[0][0].error == 'busy'

def test_a_server_that_is_gone_ends_the_run(fake):
    server = fake(lambda b: (200, chat('KB')))
    reader = quick(server, tries=2)
    server.stop()
    with pytest.raises(SetupError, match='no server answers there'): reader(PICTURES)

def test_a_key_comes_from_the_environment_and_is_nowhere_else(fake, monkeypatch):
    monkeypatch.setenv('WELLLOG_OCR_API_KEY', 'k3y-secret-1234')
    server = fake(lambda b: (200, chat('KB')) if is_trial(b) else (400, {'error': 'bad key k3y-secret-1234'}))
    found = quick(server)(PICTURES[:1])[0]
    assert server.headers[-1]['Authorization'] == 'Bearer k3y-secret-1234' and '***' in found.error and 'secret' not in found.error
    monkeypatch.setenv('WELLLOG_OCR_API_KEY', 'a\nb')
    with pytest.raises(ConfigError, match='characters that no key has'): quick(server)

def test_the_name_of_a_model_holds_over_hosts_and_restarts(fake, tmp_path):
    (tmp_path/'a').write_text('weights')
    one, two, other = (fake(None, models=({'id': 'wells', 'root': root, 'created': n},)) for n, root in enumerate(('/runs/1', '/runs/1', '/runs/2')))
    assert model_id(one.url) == model_id(two.url + '#wells') != model_id(other.url)
    assert model_id(one.url).startswith('wells@') and str(one.http.server_port) not in model_id(one.url)
    assert model_id(f'http://gone:1/v1#wells={tmp_path}') == model_id(f'{other.url}#wells={tmp_path}') != model_id(one.url)

@pytest.mark.parametrize('kind', ['qwen3_vl', 'glm_ocr', 'paddleocr_vl', 'lighton_ocr', 'idefics3'])
@pytest.mark.parametrize('size', [(300, 40), (40, 300), (1700, 900), (20, 9)])
def test_a_picture_is_sized_as_the_processor_sizes_it(kind, size):
    rec = tiny_chat(kind, min_pixels=4096, max_pixels=65536)
    img = Image.fromarray(np.random.default_rng(0).integers(0, 255, size[::-1], np.uint8))
    see = lambda i: rec.processor(text=[rec.processor.image_token], images=[[i]], return_tensors='pt')['pixel_values'].float()
    a, b = see(rec._on_canvas(img)), see(sized(rec, img))
    assert a.shape == b.shape and (a - b).abs().max() < 1e-6

@pytest.fixture(scope='module')
def served(tmp_path_factory):
    "A tiny model that has learned two lines, and `transformers serve` with it"
    import torch
    pytest.importorskip('fastapi'), pytest.importorskip('openai')
    from transformers.cli.serve import Serve
    folder, lines = tmp_path_factory.mktemp('served'), list(SynthLines(2, seed=1))
    rec = tiny_chat(width=64, min_pixels=1024, max_pixels=4096, instruction='Read.', max_new_tokens=40)
    opt, batch = torch.optim.AdamW(rec.trainable().values(), lr=4e-3), rec.collate(lines)
    for _ in range(60):
        sums, counts = rec.losses(batch)
        (sums.sum()/counts.sum()).backward(); opt.step(); opt.zero_grad()
    rec.save_pretrained(folder)
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    server = Serve(str(folder), host='127.0.0.1', port=port, device='cpu', log_level='error', non_blocking=True)
    yield f'http://127.0.0.1:{port}/v1#{folder}={folder}', folder, lines, rec
    server.kill_server()

def test_transformers_serve_reads_as_the_folder_does(served, capsys):
    name, _, lines, rec = served
    reader = open_reader(name)
    others = list(SynthLines(10, seed=2))
    own = rec.transcribe(rec.collate(lines + others))
    assert [r.text if not r.note else '' for r in reader.answers(lines + others)] == [p.text if p.confidence else '' for p in own]
    assert [r.text for r in reader.answers(lines)] == [s.text for s in lines] and not reader.scored
    assert 'tokens there' not in capsys.readouterr().err # the same pixels and the same template

def command(*args):
    from welllog_ocr.predict import _arguments, main
    main(_arguments([str(a) for a in args]))

def test_a_whole_run_names_the_weights_and_not_the_host(fake, tmp_path, capsys):
    server = fake(lambda b: (200, chat('KB 912', usage=dict(prompt_tokens=9 + 20*has_picture(b)))))
    out = tmp_path/'o.jsonl'
    for _ in range(2): command(*scans(tmp_path/'s') if not out.exists() else [tmp_path/'s'], '--model', server.url + '#wells', '--output', out) # the second goes on
    said, rows = capsys.readouterr(), [json.loads(l) for l in out.read_text().splitlines()]
    assert [r['text'] for r in rows] == ['KB 912']*3 and {r['model'] for r in rows} == {model_id(server.url)} and 'nothing was checked' in said.err
    assert str(server.http.server_port) not in out.read_text()

def lines_folder(folder, lines, times=6):
    (folder/'eval').mkdir(parents=True)
    rows = []
    for k, line in enumerate(lines*times):
        line.image.save(folder/'eval'/f'{k}.png')
        rows.append(json.dumps(dict(file_name=f'{k}.png', text=line.text, group=f'w{k}')))
    (folder/'eval'/'metadata.jsonl').write_text('\n'.join(rows))
    return folder

def test_a_server_that_reads_worse_than_its_folder_is_refused(fake, served, tmp_path, capsys):
    name, folder, lines, _ = served
    data = lines_folder(tmp_path/'d', lines)
    check_server(open_reader(name), data)
    assert '0 worse and 0 better' in capsys.readouterr().err
    with pytest.raises(SetupError, match='12 worse and 0 better.*no good copy'):
        command(*scans(tmp_path/'s'), '--model', fake(lambda b: (200, chat('KB'))).url, '--serves', folder, '--gate_data', data, '--output', tmp_path/'o.jsonl')
    assert not (tmp_path/'o.jsonl').exists() # nothing is read
    rows = server_rows(quick(fake(lambda b: (200, chat('')) if is_trial(b) else (400, {'error': 'too small'}))), lines)
    assert [r['cer'] for r in rows] == [1, 1] and 'too small' in rows[0]['unread']

def test_what_is_for_servers_is_refused_without_one(tmp_path):
    with pytest.raises(ConfigError, match='for a model on a server'): command(*scans(tmp_path/'s'), '--model', 'PP-OCRv6-small', '--serves', 'best')

def test_evaluate_takes_a_server(served, tmp_path, capsys):
    from welllog_ocr.evaluate import _arguments, main
    name, folder, lines, _ = served
    main(_arguments(['--model', name, '--data', str(lines_folder(tmp_path/'d', lines)), '--output', str(tmp_path/'e'), '--by', 'kind']))
    assert [json.loads(l)['cer'] for l in (tmp_path/'e'/'eval.jsonl').read_text().splitlines()] == [0]*12

@pytest.mark.parametrize('text,end,found', [('{"fields":{"company":"ACME OIL"},"runs":[]}', 'stop', 'ACME OIL'), ('{"fields":{"company":"ACME', 'length', 'cut_off'), (None, 500, 'busy')])
def test_records_are_written_by_a_server(fake, tmp_path, text, end, found):
    server = fake(lambda b: (200, chat('')) if is_trial(b) else (end, {'error': 'busy'}) if text is None else (200, chat(text, end)))
    (tmp_path/'s').mkdir(); Image.new('L', (300, 300), 255).save(tmp_path/'s'/'a.png')
    reader = quick(server, tries=2)
    row, = predict(reader, [tmp_path/'s'], 'record', ground=reader)
    said = row.get('error') or row.get('record_error') or row['record']['fields']['company']['text']
    assert found in said and server.bodies[-1]['messages'][0]['content'][1]['text'].startswith('Write the record')
