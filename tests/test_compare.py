"""compare as a command, on run folders that hold what a training leaves; and how often its interval is right."""
import json, os, re, subprocess, sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT/'bench'))
from compare_power import distinguished

from welllog_ocr.compare import compare as compare_runs, load_run
from welllog_ocr.config import TrainingConfig
from welllog_ocr.files import write_json, write_jsonl
from welllog_ocr.eval.report import comparison, outcome
from welllog_ocr.eval.stats import VERDICTS
from welllog_ocr.metrics import cer

LINES = [f'{name} {n}' for n in range(12) for name in ('COMPANY OHIO FUEL', 'WELL HARPER NO.', 'FIELD WILDCAT', 'Elev.: K.B. 1182.5')]

def made(folder, wrong, lines=LINES, wells=12, **changes):
    "A run that reads every `wrong`th line badly"
    (folder/'eval').mkdir(parents=True)
    preds = [text.replace('E', 'F') if i % wrong == 0 else text for i, text in enumerate(lines)]
    rows = [dict(id=str(i), loss=.1, n_tokens=len(t), cer=cer(t, p), wer=0., reference=t, prediction=p, style='typed', kind='line', group=str(i % wells)) for i, (t, p) in enumerate(zip(lines, preds))]
    write_json(folder/'config.json', {k: v for k, v in TrainingConfig(**changes).__dict__.items()})
    write_json(folder/'run.json', dict(run_id='x', data_fingerprint='f', versions={}))
    write_jsonl(folder/'eval'/'step-00000010.jsonl', rows)
    write_jsonl(folder/'metrics.jsonl', [dict(step=10, split='eval', cer=.1, loss=.1, elapsed_s=60., cost_usd=.25)])
    return folder

def compare(*args, cwd): return subprocess.run([sys.executable, '-m', 'welllog_ocr.compare', *map(str, args)], capture_output=True, text=True, cwd=cwd, env={**os.environ, 'PYTHONPATH': str(ROOT)})

@pytest.fixture
def runs(tmp_path):
    made(tmp_path/'runs'/'bad', 2), made(tmp_path/'runs'/'good', 8, seed=5)
    return tmp_path/'runs'

def test_the_command_ranks(runs, tmp_path):
    got = compare('bad', 'good', '--metrics', 'cer', 'eval_loss', '--html', tmp_path/'pages'/'page.html', cwd=tmp_path) # by name, from where runs/ is
    assert got.returncode == 0, got.stderr
    assert 'good is better than bad, and the difference is real' in got.stdout and re.search(r'^good +10 ', got.stdout, re.M) and '0.25' in got.stdout and re.search(r'^seed +3407 +5$', got.stdout, re.M)
    assert (tmp_path/'pages'/'page.html').stat().st_size > 10_000

@pytest.mark.parametrize('wrong, wells', [((2, 8), 12), ((2, 2), 12), ((7, 8), 12), ((8, 7), 12), ((3, 4), 12), ((2, 8), 5), ((2, 8), 6)])
def test_report_and_compare_give_the_same_verdict(tmp_path, wrong, wells):
    a, b = (load_run(made(tmp_path/name, w, wells=wells)) for name, w in zip('ab', wrong))
    c = compare_runs([a.folder, b.folder], ['cer'])
    d = c.difference(0, 1, 'cer')
    report = str(comparison(dict(a=a.rows, b=b.rows)))
    assert VERDICTS[d.verdict] in outcome(a.rows, b.rows, b.rows, 10)
    if wells < 6: assert d.verdict == 'too few wells' and '5 wells are too few' in report and 'With 5 wells no difference is clear' in c.text()
    else:
        assert f'b against a {d.text("cer")}: {VERDICTS[d.verdict]}.' in report and f' {d.text("cer")}' in c.text()
        assert ('the difference is real' in c.text()) == d.real == ('the difference is real' in report)
    assert (d.verdict == 'same') == (wrong[0] == wrong[1])

@pytest.mark.parametrize('module', ['compare', 'supervisor'])
def test_help_comes_at_once(module):
    code = (f'import sys, runpy\nsys.argv = ["{module}", "--help"]\ntry: runpy.run_module("welllog_ocr.{module}", run_name="__main__")\n'
            'except SystemExit as e: assert e.code == 0\nassert not {"torch", "transformers", "numpy", "matplotlib"} & set(sys.modules)')
    got = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert got.returncode == 0 and '--debug' in got.stdout, got.stderr

@pytest.mark.parametrize('args, status, says', [
    (['bad', 'god'], 2, "did you mean 'good'?"), (['bad'], 2, 'takes two'), (['bad', 'bad'], 2, 'named twice'), (['bad', 'good', '--metrics', 'crr'], 2, "did you mean 'cer'?"),
    (['runs', 'good'], 2, 'it holds runs'), (['bad', 'empty'], 3, 'holds no metrics.jsonl'), (['bad', 'broken'], 3, 'line 1: not a JSON object'), (['bad', 'other'], 3, 'evaluated on other data'), (['bad', 'counted'], 3, 'another convention')])
def test_what_cannot_work_is_told(runs, tmp_path, args, status, says):
    (runs/'empty').mkdir()
    write_json(runs/'empty'/'run.json', {}), write_json(runs/'empty'/'config.json', {})
    (made(runs/'broken', 3)/'metrics.jsonl').write_text('{"step"\n{"step": 1, "split": "eval"}\n')
    made(runs/'other', 3, [l.replace('HARPER', 'LOWE') for l in LINES])
    rows = [json.loads(l) for l in (made(runs/'counted', 3)/'eval'/'step-00000010.jsonl').read_text().splitlines()]
    write_jsonl(runs/'counted'/'eval'/'step-00000010.jsonl', [dict(r, cer=r['cer'] + .01) for r in rows])
    got = compare(*args, cwd=tmp_path)
    assert got.returncode == status and says in got.stderr and 'Traceback' not in got.stderr, got.stderr
    if status == 3 and 'not ranked' in got.stderr: assert 'Time and cost' in got.stdout and 'is better than' not in got.stdout

def test_half_a_line_and_two_of_one_name(runs, tmp_path):
    with open(runs/'good'/'metrics.jsonl', 'a') as f: f.write('{"step": 20, "spl')
    made(tmp_path/'others'/'good', 3)
    got = compare('runs/bad', 'runs/good', 'others/good', cwd=tmp_path)
    assert got.returncode == 0 and 'runs/good: the last line of metrics.jsonl is cut off' in got.stdout and re.search(r'^others/good  ', got.stdout, re.M)

def test_no_secret_of_a_setting_is_shown(runs, tmp_path):
    made(tmp_path/'runs'/'told', 3, notify_url='https://user:secretword@example.org/hook')
    assert 'secretword' not in compare('bad', 'told', cwd=tmp_path).stdout

def test_the_interval_is_right_as_often_as_it_says():
    "135 lines of 15 wells. Same rate: a real difference is claimed in about 5 % of pairs. Two points apart: nearly always told, and never the wrong way"
    false, _ = distinguished(120, 15, 135, (.05, .05), .5, draws=800)
    right, wrong = distinguished(60, 15, 135, (.05, .03), .5, draws=800)
    assert false <= .12 and right >= .85 and wrong == 0

@pytest.mark.soak
def test_told_apart():
    for rates in ((.05, .05), (.05, .04), (.03, .02), (.02, .01)):
        share, wrong = distinguished(1000, 15, 135, rates, .8)
        assert wrong == 0 or rates[0] == rates[1]
        if rates[0] == rates[1]: assert share <= .08
