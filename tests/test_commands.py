"""The command line as a user meets it: help at once, clear errors, the right exit status."""
import json, os, re, subprocess, sys

import pytest
from conftest import ROOT
from forked import run
from PIL import Image

from welllog_ocr.files import read_json, read_jsonl, write_jsonl

ENV = {**os.environ, 'HF_HUB_OFFLINE': '1', 'PYTHONPATH': str(ROOT)}

def started(*args):
    "In a process of its own, as a shell does it"
    return subprocess.run([sys.executable, '-m', *map(str, args)], capture_output=True, text=True, cwd=ROOT, env=ENV)

def error(status, *args):
    "The one message of a command that has to fail with this status"
    got = run(*args, env=ENV)
    assert got.returncode == status, got.stderr[-2000:]
    assert 'Traceback' not in got.stderr
    return got.stderr

@pytest.fixture
def quick(place, drawn, tmp_path):
    "Arguments of a run that takes a second"
    return ['welllog_ocr.train', '--model_name', place/'model', '--data_path', drawn, '--output_dir', tmp_path/'runs', '--max-steps', 4, '--language_texts', 20, '--warmup-steps', 1, '--eval_steps=2', '--experiment_name', 'x']

COMMANDS = ['align', 'app', 'catalog', 'checkpoint', 'compare', 'confidence', 'deploy', 'doctor', 'evaluate', 'gather', 'inspector', 'memory', 'merge', 'mirror', 'predict', 'preflight', 'push', 'supervisor', 'synth', 'train']

def test_no_command_is_forgotten():
    assert COMMANDS == sorted(p.stem for p in (ROOT/'welllog_ocr').rglob('*.py') if re.search(r'(is_command|command_config)\(globals\(\)', p.read_text(encoding='utf-8')))

@pytest.mark.parametrize('module', COMMANDS)
def test_help_comes_without_torch(module):
    code = ('import sys, runpy, time\n'
            f'sys.argv = ["{module}", "--help"]\n'
            f'try: runpy.run_module("welllog_ocr.{module}", run_name="__main__")\n'
            'except SystemExit as e: assert e.code == 0\n'
            'heavy = {"torch", "transformers", "accelerate", "datasets", "cv2", "numpy"} & set(sys.modules)\n'
            'assert not heavy, heavy\n'
            'assert time.process_time() < .5')
    got = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=ENV)
    assert got.returncode == 0, got.stderr
    assert '--debug' in got.stdout

def test_every_field_is_an_option_and_explained():
    text = run('welllog_ocr.train', '--help').stdout
    from dataclasses import fields
    from welllog_ocr.config import TrainingConfig
    for f in fields(TrainingConfig): assert f'--{f.name} ' in text

def test_print_config_resolves_file_and_options():
    got = run('welllog_ocr.train', '--config', 'configs/experiments/quick_val.py', '--learning-rate', '1e-5', '--print-config')
    cfg = json.loads(got.stdout)
    assert (got.returncode, cfg['learning_rate'], cfg['experiment_name']) == (0, 1e-5, 'quick_val')

@pytest.mark.parametrize('args, says', [
    (['--learning_rte', '1e-4'], "did you mean '--learning_rate'?"), (['--max_steps', 'many'], 'takes int'), (['--config', 'none.py'], 'does not exist'),
    (['--bf16', 'perhaps'], 'takes bool'), (['--experiment_name', '../up'], 'becomes a folder')])
def test_a_wrong_argument_ends_with_2(args, says):
    assert says in error(2, 'welllog_ocr.train', *args)

def test_debug_shows_the_traceback():
    got = started('welllog_ocr.train', '--max_steps', 'many', '--debug')
    assert got.returncode == 2 and 'Traceback' in got.stderr

def test_a_run_leaves_what_it_promises(quick, tmp_path):
    got = started(*quick)
    assert got.returncode == 0, got.stderr[-3000:]
    folder = tmp_path/'runs'/'x'
    assert {'best', 'checkpoints', 'config.json', 'cost.jsonl', 'curves.png', 'data.jsonl', 'eval', 'events.jsonl', 'final', 'high_loss.html', 'lock', 'metrics.jsonl', 'report.html', 'report.md', 'run.json', 'run_card.md'} == {p.name for p in folder.iterdir()}
    assert [r['step'] for r in read_jsonl(folder/'metrics.jsonl') if r['split'] == 'eval'] == [0, 2, 4]
    assert read_json(folder/'config.json')['max_steps'] == 4
    assert (folder/'final'/'language.json').is_file() # what was learned of the headers' language goes with the model
    assert '\nall  ' in got.stdout and 'Carriage' not in got.stdout and '\r' not in got.stdout
    again = run('welllog_ocr.train', '--config', folder/'config.json')  # the config of an earlier run is a config file, and starting it again goes on
    assert again.returncode == 0 and 'going on from step 4' in again.stdout
    twin = run('welllog_ocr.train', '--config', folder/'config.json', '--experiment_name', 'twin')
    assert twin.returncode == 0 and (folder/'eval'/'step-00000004.jsonl').read_bytes() == (tmp_path/'runs'/'twin'/'eval'/'step-00000004.jsonl').read_bytes()

def test_saved_models_are_evaluated(quick, tmp_path, drawn):
    assert run(*quick).returncode == 0
    got = run('welllog_ocr.evaluate', '--model', tmp_path/'runs/x/best', '--data', drawn, '--output', tmp_path/'report', '--against', tmp_path/'runs/x/final')
    assert got.returncode == 0 and '\nall, strict' in got.stdout, got.stderr[-2000:]
    assert len(read_jsonl(tmp_path/'report'/'eval.jsonl')) == len(read_jsonl(drawn/'eval'/'metadata.jsonl'))

def test_bad_data_ends_with_3(quick, drawn, tmp_path):
    table = drawn/'train'/'metadata.jsonl'
    good = read_jsonl(table)
    def broken(rows): write_jsonl(table, rows); return error(3, *quick)
    assert 'no such folder' in error(3, *quick, '--data_path', tmp_path/'nowhere')
    assert "no column 'text'" in broken([{'file_name': r['file_name'], 'txt': r['text']} for r in good])
    assert 'none of its' in broken([dict(r, text='') for r in good])
    assert 'more than once' in broken([dict(r, id='same') for r in good])
    assert 'no rows' in broken([])
    assert 'cannot write' in broken([dict(r, text='口') for r in good])
    table.write_text('{"file_name": "a.png", "text": "x"}\n{nonsense\n{"file_name": "b.png", "text": "y"}\n')
    assert 'line 2' in error(3, *quick)
    assert not (tmp_path/'runs'/'x').exists() # nothing was begun

def test_bad_rows_are_skipped_listed_and_counted(quick, drawn, tmp_path):
    rows = read_jsonl(drawn/'train'/'metadata.jsonl')
    (drawn/'train'/rows[0]['file_name']).write_bytes(b'not an image')
    rows[1]['text'], rows[2]['kind'], rows[3]['text'], rows[4]['file_name'] = ' ', 'page', 'WELL 口', '../../../etc/passwd'
    write_jsonl(drawn/'train'/'metadata.jsonl', rows)
    got = run(*quick)
    assert got.returncode == 0, got.stderr[-2000:]
    assert '5 left out' in got.stdout
    for why in ('cannot be decoded', 'text is empty', "kind 'page'", 'cannot write', 'points outside'): assert why in got.stdout
    assert len(next(e for e in read_jsonl(tmp_path/'runs/x/events.jsonl') if e['event'] == 'start')['skipped']) == 5

def test_an_output_that_cannot_be_written_ends_with_3(quick, tmp_path):
    (tmp_path/'file').write_text('in the way')
    assert 'cannot be written' in error(3, *quick, '--output_dir', tmp_path/'file'/'runs')

def test_a_model_that_is_none_ends_with_3(quick, drawn, tmp_path):
    (tmp_path/'empty').mkdir()
    assert 'no saved model' in error(3, *quick, '--model_name', tmp_path/'empty')
    assert 'cannot be loaded' in error(3, 'welllog_ocr.evaluate', '--model', 'nobody/nothing', '--data', drawn)

def test_half_a_model_is_refused(place, drawn, tmp_path):
    import shutil
    from safetensors.torch import load_file, save_file
    shutil.copytree(place/'model', tmp_path/'half')
    weights = load_file(tmp_path/'half'/'model.safetensors')
    weights.pop(next(k for k in weights if 'head.head' in k))
    save_file(weights, tmp_path/'half'/'model.safetensors', metadata={'format': 'pt'})
    assert 'lacks' in error(3, 'welllog_ocr.evaluate', '--model', tmp_path/'half', '--data', drawn)
    (tmp_path/'half'/'model.safetensors').write_bytes((place/'model'/'model.safetensors').read_bytes()[:5000])
    assert 'cannot be loaded' in error(3, 'welllog_ocr.evaluate', '--model', tmp_path/'half', '--data', drawn)

def test_no_secret_reaches_the_run(quick, tmp_path, monkeypatch):
    monkeypatch.setitem(ENV, 'HF_TOKEN', 'hf_CANARYcanaryCANARYcanary12345')
    got = run(*quick, '--experiment_name', 'secret', env=ENV)
    assert got.returncode == 0
    texts = [got.stdout, got.stderr] + [p.read_text(errors='replace') for p in (tmp_path/'runs').rglob('*') if p.is_file()]
    assert not [t for t in texts if 'CANARY' in t]

def test_synth_writes_the_same_bytes_for_the_same_seed(tmp_path):
    for name in 'ab': assert run('welllog_ocr.synth', tmp_path/name, '--n', 12, '--seed', 5).returncode == 0
    files = sorted(p.relative_to(tmp_path/'a') for p in (tmp_path/'a').rglob('*') if p.is_file())
    assert len(files) == 14
    for f in files: assert (tmp_path/'a'/f).read_bytes() == (tmp_path/'b'/f).read_bytes()
    assert 'is not empty' in error(3, 'welllog_ocr.synth', tmp_path/'a')

def test_grey_colour_and_one_bit_images_are_read(quick, drawn):
    rows = read_jsonl(drawn/'train'/'metadata.jsonl')
    for r, mode in zip(rows, ('RGB', '1', 'P', 'L', 'RGBA', 'CMYK')):
        img = Image.open(drawn/'train'/r['file_name']).convert('RGB').convert(mode)
        r['file_name'] = f'{mode}.tiff'
        img.save(drawn/'train'/r['file_name'])
    write_jsonl(drawn/'train'/'metadata.jsonl', rows)
    got = run(*quick)
    assert got.returncode == 0 and 'left out' not in got.stdout, got.stderr[-2000:]

def test_a_reader_that_has_seen_enough_is_no_mistake(drawn):
    p = subprocess.Popen([sys.executable, '-m', 'welllog_ocr.doctor', str(drawn)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV, cwd=ROOT)
    p.stdout.close() # before it has written a word
    assert p.wait() == 141 and 'mistake' not in p.stderr.read()
