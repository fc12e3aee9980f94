"""MLflow and TensorBoard: whenever something is killed, every row is there once, as the tools' own readers find it"""
import os, random, signal, threading
from importlib.util import find_spec

import pytest
from PIL import Image

from mlflow_server import MlflowServer
from runs import in_child, tiny
from test_wandb import config, env, folder_of, found_in, grow, kill_and_resume, planted
from welllog_ocr.files import append_jsonl, read_json, read_jsonl, write_jsonl
from welllog_ocr.run import trackers
from welllog_ocr.run.tracker import HIGH_LOSS, follow, row_curves
from welllog_ocr.run.trackers import TRACKERS, TrackerProcess

KINDS = [pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f'{name} is not installed')) for name in ('mlflow', 'tensorboard')]

@pytest.fixture
def mlflow(env, tmp_path):
    "A client of the database beside the run folders"
    pytest.importorskip('mlflow')
    for k in [k for k in os.environ if k.startswith('MLFLOW')]: env.delenv(k)
    for k, v in trackers._QUIETLY.items(): env.setenv(k, v)
    from mlflow.tracking import MlflowClient
    return lambda uri=f'sqlite:///{tmp_path}/mlflow.db': MlflowClient(uri)

def at_mlflow(client, folder):
    found = [r for e in client.search_experiments() for r in client.search_runs([e.experiment_id], f"tags.`welllog_ocr.run_id` = '{read_json(folder/'run.json')['run_id']}'")]
    assert len(found) == 1, 'one run over all resumes'
    return found[0], sorted((m.key, m.step, m.value) for k in found[0].data.metrics for m in client.get_metric_history(found[0].info.run_id, k))

def at_tensorboard(folder):
    "As TensorBoard itself shows the folder"
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    found = EventAccumulator(str(folder/'tensorboard'), size_guidance=dict(scalars=0, images=0, tensors=0)).Reload()
    return found, sorted((tag, p.step, p.value) for tag in found.Tags()['scalars'] for p in found.Scalars(tag))

def wanted(folder):
    rows = read_jsonl(folder/'metrics.jsonl')
    return sorted({(k, r['step']): (k, r['step'], pytest.approx(float(v))) for r in rows[::-1] for k, v in row_curves(r).items() if k != 'step'}.values(), key=lambda x: x[:2]) # the first of its step

def seen(name, folder, mlflow): return at_mlflow(mlflow(), folder)[1] if name == 'mlflow' else at_tensorboard(folder)[1]

def job(folder, name): return trackers._job(folder, config(folder), tracker=name)

def sessions(folder, name, kills, rows, seed=0):
    "Trackers that are killed in the middle of a row while a run grows, then one that comes to its end"
    rng, kind = random.Random(seed), TRACKERS[name]
    (folder/name).mkdir(exist_ok=True)
    def until(stop):
        class Cut(kind):
            def put(self, *args):
                super().put(*args)
                if stop is not None and self.sent >= stop: # what was written so far may be half a record
                    if name == 'tensorboard': self.file._writer.write(b'\x10\0\0'), self.flush()
                    elif rng.random() < .5: self.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
        follow(folder, Cut(folder, job(folder, name), 'local'))
    for k in range(kills):
        grow(folder, rows*(k + 1)//(kills + 1), 0)
        assert in_child(lambda: until(rng.randint(0, rows//(kills + 1) - 1))) == -signal.SIGKILL
    grow(folder, rows, 0)
    assert in_child(lambda: until(None)) == 0

@pytest.mark.parametrize('name', KINDS)
def test_killed_in_a_row(mlflow, tmp_path, name):
    folder = folder_of(tmp_path)
    if name == 'mlflow': mlflow().search_experiments() # imported, and the database made, once for all
    sessions(folder, name, 3, 24)
    assert seen(name, folder, mlflow) == wanted(folder)
    if name == 'mlflow': assert at_mlflow(mlflow(), folder)[0].data.params['learning_rate'] == str(config(folder)['learning_rate'])

@pytest.mark.soak
@pytest.mark.parametrize('name', KINDS)
def test_killed_and_resumed_often(mlflow, tmp_path, reliability, name):
    folder = folder_of(tmp_path)
    done = kill_and_resume(folder, 10, 1, 150, name)
    assert seen(name, folder, mlflow) == wanted(folder) and len(read_jsonl(folder/'metrics.jsonl')) == 150
    reliability(f'killed and resumed, {name}', done, f'{done}: every value once, no gap, no double', 'does not apply')

def laid_out(folder, step):
    (folder/HIGH_LOSS/'pictures').mkdir(parents=True, exist_ok=True)
    Image.new('L', (40, 12), 255).save(folder/HIGH_LOSS/'pictures'/'a.png')
    write_jsonl(folder/HIGH_LOSS/f'step-{step:08}.jsonl', [dict(id='<script>|x', loss=3., cer=.5, wer=1., reference='KB | 912', prediction='', picture='pictures/a.png')])

@pytest.fixture
def server(mlflow, env):
    with MlflowServer() as s:
        env.setenv('MLFLOW_TRACKING_URI', s.url)
        yield s

def test_a_server_that_fails_now_and_then(server, mlflow, tmp_path):
    "Every third request fails, before or after it was done: every value arrives once, and the lines with pictures"
    server.fault = lambda n: [None, None, 'before', None, None, 'after'][n % 6]
    folder = folder_of(tmp_path)
    grow(folder, 12, 0), [laid_out(folder, step) for step in range(0, 60, 10)], append_jsonl(folder/'events.jsonl', dict(event='best', step=50, metric='cer', value=.1), dict(event='end', step=50))
    env_pauses = trackers._ask.__kwdefaults__ | dict(pauses=(.01,)*6)
    trackers._ask.__kwdefaults__, before = env_pauses, trackers._ask.__kwdefaults__
    try: follow(folder, trackers.MLflow(folder, job(folder, 'mlflow'), 'server'))
    finally: trackers._ask.__kwdefaults__ = before
    server.fault = lambda n: None
    run, found = at_mlflow(mlflow(server.url), folder)
    assert found == wanted(folder) and run.info.status == 'FINISHED' and run.data.tags['best_step'] == '50'
    assert {n.partition('artifacts/')[2] for n in server.files} == {'high_loss/pictures/a.png', *(f'high_loss/step-{step:08}.json' for step in range(0, 60, 10))}

def test_a_server_that_was_down_gets_all_of_it_later(server, mlflow, tmp_path):
    folder, told = folder_of(tmp_path), []
    log = lambda what, **facts: told.append((what, facts))
    server.fault = lambda n: 'before'
    tracker = TrackerProcess(folder, config(folder), log, linger=.1, name='mlflow')
    grow(folder, 20, 0)
    assert not tracker.close() and told[-1][0] == 'mlflow_behind', told
    server.fault = lambda n: None
    assert TrackerProcess(folder, config(folder), log, linger=60, name='mlflow').close(), told
    assert told[-1] == ('mlflow_done', dict(mode='server', sent=20)) and at_mlflow(mlflow(server.url), folder)[1] == wanted(folder)

def test_pictures_and_settings_at_tensorboard(tmp_path):
    pytest.importorskip('tensorboard')
    folder = folder_of(tmp_path)
    grow(folder, 4, 0), laid_out(folder, 0), laid_out(folder, 10), (folder/'tensorboard').mkdir()
    for _ in range(2): follow(folder, trackers.TensorBoard(folder, job(folder, 'tensorboard'), 'local'))
    found, points = at_tensorboard(folder)
    assert points == wanted(folder) and len(found.Images(f'{HIGH_LOSS}/00')) == 2
    assert b'seed' in found.Tensors('settings')[0].tensor_proto.string_val[0] and b'<script>' not in found.Tensors(HIGH_LOSS)[0].tensor_proto.string_val[0].replace(b'\\<', b'')

def test_a_training_with_two_trackers(home, server, mlflow, env):
    "Both get the rows of a training, in which no secret is; a tracker that is not installed costs a line"
    pytest.importorskip('tensorboard')
    secrets = planted(env)
    env.delenv('WELLLOG_OCR_NOTIFY_URL') # of the config this time
    from welllog_ocr.train import train
    env.setattr('welllog_ocr.run.trackers.LINGER', 60)
    cfg = tiny(home, report_to=('mlflow', 'tensorboard'), max_steps=4, notify_url='http://127.0.0.1:9/CANARY0004')
    train(cfg)
    assert at_tensorboard(cfg.run_dir)[1] == wanted(cfg.run_dir) == at_mlflow(mlflow(server.url), cfg.run_dir)[1]
    sent = b''.join(body for _, body in server.asked) + b''.join(server.files.values())
    assert not found_in(home/'runs', [*secrets, 'CANARY0004']) and not [s for s in secrets if s.encode() in sent]
    assert any(e['event'] == 'notify_failed' for e in read_jsonl(cfg.run_dir/'events.jsonl'))
    env.setattr(trackers, 'find_spec', lambda name: None)
    told = []
    assert not trackers._send(cfg.run_dir, job(cfg.run_dir, 'mlflow'), threading.Event(), lambda what, **facts: told.append(facts))
    assert 'is not installed' in told[0]['why'] and 'welllog_ocr[mlflow]' in told[0]['then']
