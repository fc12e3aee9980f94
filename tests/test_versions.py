"""What version 0.1.0 left on the disk is still read: a run folder with a checkpoint, a review file, a results file."""
import json, re, shutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from welllog_ocr.checkpoint import overview
from welllog_ocr.compare import compare
from welllog_ocr.config import load_config
from welllog_ocr.core import DataError
from welllog_ocr.draw import line, page
from welllog_ocr.eval.report import slices
from welllog_ocr.eval.rows import read_rows
from welllog_ocr.evaluate import _arguments as evaluate_arguments, main as evaluate_command
from welllog_ocr.files import read_json, read_jsonl
from welllog_ocr.inspector import eval_rows
from welllog_ocr.models.core import load_recogniser
from welllog_ocr.predict import _arguments, main
from welllog_ocr.run.card import run_card
from welllog_ocr.run.samples import run_data
from welllog_ocr.train import train

MADE = Path(__file__).parent/'fixtures'/'version-0.1.0'

@pytest.fixture
def old(tmp_path, monkeypatch):
    "A folder in which 0.1.0 was stopped at step 6 of 32, reviewed, and read two scans"
    shutil.copytree(MADE, tmp_path/'old')
    monkeypatch.chdir(tmp_path/'old')
    return tmp_path/'old'

def test_a_run_with_other_drawn_lines_goes_on_under_a_name_of_its_own(old):
    "0.1.0 drew other words: its run is not mixed with new ones, and its checkpoint is where a new run starts"
    cfg = load_config(old/'runs'/'cut'/'config.json')
    with pytest.raises(DataError, match='this version draws other lines.*--resume FOLDER'): train(cfg)
    start = max((old/'runs'/'cut'/'checkpoints').glob('step-*'))
    run = train(cfg.replace(experiment_name='on', resume_from_checkpoint=str(start), max_steps=8))
    assert read_json(run/'run.json')['forked_from'] == str(start) and read_jsonl(run/'metrics.jsonl')[-1]['step'] == 8

def test_a_run_resumes(old, monkeypatch):
    "As if lines were drawn as 0.1.0 drew them: a quarter of the lines are others, so losses are near and not equal, and it may stop at another step"
    monkeypatch.setattr(line, 'LINES_VERSION', 1); monkeypatch.setattr(page, 'HEADERS_VERSION', 1)
    run = train(load_config(old/'runs'/'cut'/'config.json'))
    rows, whole = read_jsonl(run/'metrics.jsonl'), read_jsonl(old/'whole.jsonl')
    rows, whole = rows[:len(whole)], whole[:len(rows)]
    assert [(r['step'], r['split']) for r in rows] == [(r['step'], r['split']) for r in whole]
    of_eval = lambda found: [r['loss'] for r in found if r['split'] == 'eval'] # of real lines
    assert of_eval(rows) == pytest.approx(of_eval(whole), rel=.02)
    assert [e['event'] for e in read_jsonl(run/'events.jsonl')].count('resumed') == 1
    assert {row['style'] for row in read_jsonl(run/'eval'/f'step-{rows[-1]["step"]:08}.jsonl')} == {'handwritten', 'typed'}
    report = (run/'report.md').read_text()
    assert '| handwritten | 3 |' in report and '| typed | 1 |' in report # step 0 was evaluated by 0.1.0, whose rows say `made`

def test_its_evaluations_are_read(old, capsys):
    "Rows of 0.1.0 say `made`: they are read as `style`, also where a command asks for `made`"
    run = old/'runs'/'cut'
    raw, rows = read_jsonl(run/'eval'/'step-00000004.jsonl'), read_rows(run/'eval'/'step-00000004.jsonl')
    assert [r['style'] for r in rows] == [r['made'] for r in raw] and not any('made' in r for r in rows)
    assert '| handwritten | 3 |' in run_card(run)
    assert slices(rows, 'made') == slices(rows, 'style') and eval_rows(run)[0] == rows
    shutil.copytree(run, old/'runs'/'twin')
    assert re.search('handwritten +twin +3 ', compare([run, old/'runs'/'twin']).text())
    evaluate_command(evaluate_arguments(['--model', str(run/'eval'/'step-00000004.jsonl'), '--against', str(run/'eval'/'step-00000000.jsonl'), '--data', 'lines', '--by', 'made']))
    assert re.search('handwritten +3 ', capsys.readouterr().out)

def test_its_checkpoints_are_listed(old):
    assert any('5' in line for line in overview(old/'runs'/'cut'))

def test_its_review_is_applied(old):
    cfg = load_config(old/'runs'/'cut'/'config.json').replace(review=str(old/'review.jsonl'))
    held = {s.id: s.text for s in run_data(cfg, load_recogniser('model')).eval}
    assert held == {'10.png': 'STATE OREGON', '11.png': 'TWP. NW/4 SE/4 SEC. 2', '13.png': '2'}

def test_its_results_go_on(old):
    shutil.copy(old/'lines'/'train'/'02.png', old/'two'/'02.png')
    before = (old/'found.jsonl').read_text().splitlines()
    main(_arguments(['--model', 'model', 'two', '--kind', 'line', '--output', 'found.jsonl']))
    after = (old/'found.jsonl').read_text().splitlines()
    assert after[:2] == before and [json.loads(l)['file'] for l in after] == ['two/00.png', 'two/01.png', 'two/02.png']

def test_the_changelog_names_modules_that_are_there():
    table = (MADE.parents[2]/'CHANGELOG.md').read_text().partition('| 0.1.0 | 0.2.0 |')[2].partition('\n\n')[0]
    rows = [row.split(' | ')[1] for row in table.splitlines()[2:]]
    assert len(rows) > 12
    for row in rows:
        where = ''
        for name in re.findall(r'`([\w.]+)`', row):
            home, _, last = (where + name if name.startswith('.') else name).rpartition('.')
            module = f'welllog_ocr.{home}.{last}'.replace('..', '.')
            if last.islower() and (not home or find_spec(f'welllog_ocr.{home}').submodule_search_locations) and find_spec(module): where = module.removeprefix('welllog_ocr.')
            else:
                assert hasattr(import_module(f'welllog_ocr.{home or where}'), last), name
                where = home or where
