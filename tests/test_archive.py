"""Archives read in parts: whatever dies, every page is there once."""
import json, os, random, signal, subprocess, sys, threading, time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT
from PIL import Image
from welllog_ocr.archive import store, work
from welllog_ocr.archive.plan import finish, gather, open_plan
from welllog_ocr.archive.reader import AtWork
from welllog_ocr.archive.store import list_scans, open_store
from welllog_ocr.archive.work import Processes, read_parts
from welllog_ocr.core import ConfigError, SetupError

SAME = dict(model='odd@1', how='page')

@pytest.fixture(autouse=True)
def workers_find_the_tests(monkeypatch):
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(Path(__file__).parent), str(ROOT)]))

def archive(folder, n, odd=(), **more):
    (folder/'in').mkdir()
    for i in range(n): (folder/'in'/f'{i:05}.tif').write_text(dict(odd).get(i, f'page {i}'))
    return dict(scans=str(folder/'in'), output=str(folder/'out'), reader='odd_reader:scan_reader', version=version('welllog_ocr'), **more)

def planned(spec):
    plan = open_plan(open_store(spec['output']), SAME)
    plan.update(list_scans(open_store(spec['scans'])))
    return plan

def check(plan, n, odd=()):
    found = list(gather([plan]).rows())
    rows = dict(found)
    assert len(found) == n and sorted(rows) == [f'{i:05}.tif' for i in range(n)]
    assert {int(k[:5]) for k, r in rows.items() if 'error' in r} == {*odd}
    assert all(rows[f'{i:05}.tif']['text'] == f'page {i}' for i in range(n) if i not in odd)
    return rows

def pile(tmp_path, engine, n, odd, timeout=900):
    "Read an archive with files that harm who reads them"
    spec = archive(tmp_path, n, odd, memory=4 << 30)
    plan, said = planned(spec), []
    if engine == 'processes': read_parts(plan, Processes(spec, 2), timeout=timeout, say=said.append)
    else:
        pytest.importorskip('ray', reason='needs ray (pip install "welllog_ocr[cluster]")')
        from welllog_ocr.archive.cluster import Actors, cluster
        with cluster() as ray: read_parts(plan, Actors(ray, spec), timeout=timeout, say=said.append)
    rows = check(plan, n, odd)
    words = dict(kill='ended twice' if engine == 'processes' else 'killed twice', hang='longer than 5 s, twice', huge='MemoryError', cut='cut off')
    assert all(words[what] in rows[f'{i:05}.tif']['error'] for i, what in odd.items())
    assert said[-1].startswith(f'{n:,} of {n:,} scans') and f'{len(odd)} errors' in said[-1]

@pytest.mark.parametrize('engine, n, odd', [('processes', 80, {7: 'kill', 8: 'kill', 51: 'huge', 60: 'cut'}),
                                            ('ray', 40, {7: 'kill', 21: 'huge', 30: 'cut'})]) # Ray takes seconds to start a reader
def test_files_that_kill_swell_or_are_cut_off_cost_only_themselves(tmp_path, engine, n, odd): pile(tmp_path, engine, n, odd)

class Silent:
    "Readers that say nothing once they have begun one file, until they are killed; their clock needs no waiting"
    def __init__(self, plan, bad): self.plan, self.bad, self.working, self.number = plan, bad, {}, 0
    def room(self): return 1
    def start(self): self.number += 1; return SimpleNamespace(number=self.number, parts=0, killed=False)
    def give(self, reader, part): reader.parts += 1; self.working[reader.number] = reader, part
    def kill(self, reader): reader.killed = True
    def close(self): pass
    def hangs(self, part): return self.bad in part.table['place'].to_pylist()
    def look(self):
        hanging = [n for n, (_, part) in self.working.items() if self.hangs(part)]
        return AtWork({n: [self.bad] for n in range(self.number + 1)}, {n: 1000 for n in hanging}, 5, 0)
    def finished(self):
        for n, (reader, part) in list(self.working.items()):
            if self.hangs(part) and not reader.killed: continue
            if not reader.killed: finish(self.plan.store, part.name, [(s.place, dict(file=s.place, page=0, place=s.place)) for s in part.scans])
            yield *self.working.pop(n), 'it was killed twice' if reader.killed else ''

def beside_a_hanging_file(m, folder):
    plan = planned(archive(folder, 9))
    m.read_parts(plan, Silent(plan, '00004.tif'), timeout=900, say=lambda _: None)
    rows = dict(gather([plan]).rows())
    assert len(rows) == 9 and [k for k, r in rows.items() if 'error' in r] == ['00004.tif']
    assert 'longer than 900 s, twice' in rows['00004.tif']['error']

def test_a_file_over_which_readers_are_silent_is_listed_and_no_other(tmp_path): beside_a_hanging_file(work, tmp_path)

def killed_while_a_part_is_written(m, folder):
    "Before its bytes are forced to disk, and before it has its name: it is not there, and the next reader puts it down whole"
    from faults import silent_exit # here: the drivers below import this file, and need no torch
    out = m.open_store(folder/'out')
    for n, call in enumerate(('fsync', 'link')):
        def killed():
            setattr(os, call, lambda *_: os.kill(os.getpid(), signal.SIGKILL)) # in a child
            m.write_once(out, f'parts/{n}', b'first')
        assert silent_exit(killed) == -signal.SIGKILL and f'{n}' not in m.names_in(out, 'parts')
        assert m.write_once(out, f'parts/{n}', b'second') and m.fetch(out, f'parts/{n}') == b'second'

def test_a_part_is_there_when_it_is_whole(tmp_path): killed_while_a_part_is_written(store, tmp_path)

@pytest.mark.soak
@pytest.mark.parametrize('engine', ('processes', 'ray'))
def test_a_pile_with_twenty_poisonous_files(tmp_path, engine, reliability):
    rng = random.Random(2)
    pile(tmp_path, engine, 1000, {i: what for what in ('kill', 'hang', 'huge', 'cut') for i in rng.sample(range(1000), 5)}, timeout=5)
    reliability(f'an archive with 20 files that kill their reader, hang, want 30 GB or are cut off, by {engine}', 20, 20, 'all others read, the 20 listed')

DRIVER = '''import sys, json
from test_archive import planned
from welllog_ocr.archive.work import Processes, read_parts
spec = json.loads(sys.argv[1])
plan = planned(spec)
if sys.argv[2] == 'ray':
    from welllog_ocr.archive.cluster import Actors, cluster
    with cluster() as ray: read_parts(plan, Actors(ray, spec), say=lambda _: None)
else: read_parts(plan, Processes(spec, 2), say=lambda _: None)
'''

def workers(mark):
    "Processes of readers, of those that were started with a mark in their environment"
    for p in Path('/proc').glob('[0-9]*'):
        try: env, line = (p/'environ').read_bytes(), (p/'cmdline').read_bytes()
        except OSError: continue
        if mark.encode() in env and (b'ray::' in line or b'welllog_ocr.archive.work' in line): yield int(p.name)

def killed_often(tmp_path, engine, pages, kills, seconds, seed=1):
    "Read an archive, and kill readers and drivers; one in five kills is the driver's"
    spec, rng, left = archive(tmp_path, pages, seconds=seconds), random.Random(seed), kills
    mark = f'ARCHIVE_TEST={tmp_path.name}{os.getpid()}'
    start = lambda: subprocess.Popen([sys.executable, '-c', DRIVER, json.dumps(spec), engine],
                                     env=os.environ | dict([mark.split('=')]), stderr=subprocess.PIPE)
    driver = start()
    while driver.poll() is None or driver.returncode:
        if driver.poll() is not None:
            assert driver.returncode == -signal.SIGKILL, driver.stderr.read().decode()[-2000:]
            driver = start()
        time.sleep(rng.uniform(.3, 1.5))
        found = list(workers(mark))
        if not left or not found: continue
        victim = driver.pid if left % 5 == 0 else rng.choice(found)
        try: os.kill(victim, signal.SIGKILL)
        except ProcessLookupError: continue
        left -= 1
    assert not left, f'{left} kills had no time; more pages are needed'
    check(planned(spec), pages)
    deadline = time.monotonic() + 30
    while list(workers(mark)): # of drivers that were killed
        assert time.monotonic() < deadline, 'readers outlived their drivers'
        time.sleep(.2)

def test_killed_readers_and_drivers_lose_and_double_nothing(tmp_path): killed_often(tmp_path, 'processes', 300, 5, .02)

@pytest.mark.soak
@pytest.mark.parametrize('engine', ('processes', 'ray'))
def test_thirty_kills_in_five_thousand_pages(tmp_path, engine, reliability):
    killed_often(tmp_path, engine, 5000, 30, .03)
    reliability(f'SIGKILL of readers and commands at random times, an archive of 5,000 pages, by {engine}', 30, 30, 'every page once')

@pytest.fixture(scope='module')
def bucket():
    "An S3 endpoint of which one request in twenty fails"
    pytest.importorskip('moto', reason='needs moto[server]')
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server
    moto, rng, failed = DomainDispatcherApplication(create_backend_app), random.Random(3), []
    def flaky(environ, start):
        if environ['PATH_INFO'].startswith('/secret'):
            start('403 Forbidden', [('Content-Type', 'application/xml')])
            return [b'<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>']
        if rng.random() > .05 or environ['REQUEST_METHOD'] == 'PUT' and environ['PATH_INFO'].count('/') == 1: return moto(environ, start)
        failed.append(environ['PATH_INFO'])
        start('503 Slow Down', [('Content-Type', 'application/xml')])
        return [b'<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>']
    server = make_server('127.0.0.1', 0, flaky, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as m:
        for k, v in dict(AWS_ACCESS_KEY_ID='tests', AWS_SECRET_ACCESS_KEY='tests', AWS_DEFAULT_REGION='us-east-1', AWS_EC2_METADATA_DISABLED='true',
                         AWS_ENDPOINT_URL=f'http://127.0.0.1:{server.server_port}').items(): m.setenv(k, v)
        yield failed
    server.shutdown()

def put(url, folder):
    store = open_store(url + '?allow_bucket_creation=true')
    store.fs.create_dir(store.root.split('/')[0])
    for p in folder.iterdir():
        with store.fs.open_output_stream(store.path(p.name)) as f: f.write(p.read_bytes())

def test_a_bucket_is_read_into_a_bucket_though_requests_fail(tmp_path, bucket):
    spec = archive(tmp_path, 80)
    put('s3://logs/in', tmp_path/'in')
    spec |= dict(scans='s3://logs/in', output='s3://logs/out')
    read_parts(plan := planned(spec), Processes(spec, 2), say=lambda _: None)
    rows = check(plan, 80)
    assert rows['00003.tif']['file'] == 's3://logs/in/00003.tif' and len(bucket) > 5
    assert planned(spec).done() == plan.done() and not gather([plan]).missing # nothing is new the second time

def test_what_no_retry_can_mend_is_said_at_once(tmp_path, bucket):
    with pytest.raises(SetupError, match='no such bucket'): list_scans(open_store('s3://nothing/in'))
    with pytest.raises(ConfigError, match='two ways of reading'): open_plan(open_store(put_about(tmp_path)), dict(SAME, model='other@2'))
    with pytest.raises(SetupError, match='refuses these credentials'): list_scans(open_store('s3://secret/in'))

def put_about(tmp_path): return open_plan(open_store(tmp_path/'out'), SAME).store.root

def test_parts_hold_the_rows_of_a_plain_run_and_go_into_a_catalog(tmp_path, monkeypatch, capsys):
    "Shares of two machines, each with its results on a disk of its own"
    from welllog_ocr import catalog, gather as gathering, predict
    from welllog_ocr.files import read_jsonl
    from welllog_ocr.models.ctc import tiny_ctc
    monkeypatch.chdir(tmp_path)
    tiny_ctc().save_pretrained('model')
    Path('in/box').mkdir(parents=True)
    for i in range(12): Image.effect_noise((120, 24), 60).save(f'in/{"box/"*(i % 2)}{i}.png')
    Path('in/cut.tif').write_bytes(b'II*\0')
    def run(command, *words): command.main(command._arguments(words)); return capsys.readouterr().out
    def read(*words): return run(predict, 'in', '--model', 'model', '--workers', '1', '--output', *words)
    read('plain.jsonl'), read('a', '--shard', '1/2'), read('b', '--shard', '2/2')
    with pytest.raises(ConfigError, match='add --partial'): run(gathering, 'a', '--output', 'x.csv')
    assert '12 pages read, 1 could not be' in run(gathering, 'a', 'b', '--output', 'all.csv')
    key = lambda rows: sorted((r['place'], json.dumps(r, sort_keys=True)) for r in rows)
    assert key(read_jsonl('all.jsonl')) == key(read_jsonl('plain.jsonl'))
    assert '13 pages added' in run(catalog, 'a', 'b', '--output', 'wells.db')
    with pytest.raises(ConfigError, match='two ways of reading'): read('a', '--shard', '1/2', '--kind', 'line')
    with pytest.raises(ConfigError, match='in parts, which need a folder'): read('x.csv', '--shard', '1/2')

def test_of_a_log_in_a_bucket_only_the_header_is_fetched(tmp_path, bucket):
    from welllog_ocr.archive.reader import fetched
    from welllog_ocr.data.scan import read_region
    (tmp_path/'in').mkdir()
    (tmp_path/'to').mkdir()
    Image.effect_noise((600, 12_000), 60).save(tmp_path/'in'/'tall.tif', compression='packbits')
    put('s3://logs/tall', tmp_path/'in')
    store = open_store('s3://logs/tall')
    found, = fetched(store, list_scans(store), tmp_path/'to')
    assert found.header_only and found.path.stat().st_size < (tmp_path/'in'/'tall.tif').stat().st_size/2
    assert read_region(found.path, 0, 1000).tobytes() == read_region(tmp_path/'in'/'tall.tif', 0, 1000).tobytes()
