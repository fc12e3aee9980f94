"""Lines that are picked for a review, from the scans to the training that learns from them."""
import json

import pytest

from welllog_ocr.core import DataError
from welllog_ocr.data.load import load_split
from welllog_ocr.data.scan import scan_info
from welllog_ocr.files import read_jsonl, sha256_file
from welllog_ocr.read.picking import pick_task, pick_lines

HOSTILE = '<img src=x onerror=alert(1)> KB \u202e912'

def test_junk_and_copies_do_not_fill_the_budget():
    line  = lambda text, confidence, group: dict(text=text, confidence=confidence, group=group)
    junk  = [line('. -|', .001, f'junk {i}') for i in range(300)] + [line('wWiwWWmwMi', 1e-6, f'junk {i}') for i in range(300)]
    copy  = [line('DEPTH-LOGGER 12,250 FT', .2, f'copy {i % 3}') for i in range(300)]
    sure  = [line(f'COUNTY KING {i}', .999, f'sure {i}') for i in range(300)]
    useful = [line(f'{chr(65 + i)*3} WELL {chr(90 - i)*4} UNIT', .55, f'scan {i}') for i in range(20)]
    rows  = junk + copy + sure + useful
    found = [rows[i] for i in pick_lines(rows, 30)]
    assert found == [rows[i] for i in pick_lines(rows, 30)] and len(found) == 30
    assert sum(r in useful for r in found) == 20 and not any(r in junk for r in found)
    bad = [line(f'{i:05} {"AB"[i % 2]*(i % 7)}', .1, 'one bad scan') for i in range(300)]
    assert sum(r['group'] == 'one bad scan' for r in (([*bad, *useful])[i] for i in pick_lines([*bad, *useful], 20))) <= 10

def _rows(folder, texts):
    "Rows of predict --kind line"
    for path, text in zip(sorted((folder/'train').glob('*.png')), texts):
        w, h = scan_info(path).size
        line = dict(text=text, confidence=.4, box=[[0, 0], [w, 0], [w, h], [0, h]])
        yield dict(file=str(path), page=0, kind='line', region=[0, h], sha256=sha256_file(path), lines=[line], model='m')

def test_from_the_pick_to_the_training(home, drawn, tmp_path):
    from runs import tiny
    from welllog_ocr.inspector import open_run
    from welllog_ocr.train import train
    folder = tmp_path/'picked'
    pick_task(_rows(drawn, [HOSTILE, 'FIELD WILDCAT', 'KB 912', 'TD 10,499']), 4, folder)
    samples, skips = load_split(folder/'train')
    wells = {r['file_name']: r.get('group') for r in read_jsonl(drawn/'train/metadata.jsonl')}
    assert not skips and HOSTILE in [s.text for s in samples] and {s.group for s in samples} <= set(wells.values())

    task = open_run(folder)
    assert not task.trouble and len(task.session) == 4 and not task.drawn
    assert task.image(0).size == samples[0].size
    cfg = tiny(home, extra_data=folder, max_steps=2, eval_steps=2, save_steps=2, warmup_steps=0, synth_share=.5)
    with pytest.raises(DataError, match='nobody has confirmed'): train(cfg)
    where = {r['reference']: i for i, r in enumerate(task.session.rows)}
    task.session.accept(where['KB 912'])
    task.session.fix(where['TD 10,499'], 'TD 10,490')
    run = train(cfg)
    rows = [r for r in read_jsonl(run/'data.jsonl') if r['split'] == 'train']
    assert len(rows) == 2 and all(r['id'].startswith('picked/') for r in rows)
    told = json.dumps(read_jsonl(run/'events.jsonl'))
    assert '2 lines to learn from, 2 left out unconfirmed' in told and 'labels corrected 1' in told
    task.session.fix(where['FIELD WILDCAT'], 'FIELD WILD CAT')
    with pytest.raises(DataError, match='1 added'): train(cfg.replace(max_steps=4)) # other labels are another run
