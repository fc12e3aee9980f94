"Weak labels: values of a table found among read lines, wrong ones refused, and a folder that survives a crash"
import json, shutil
from pathlib import Path

import numpy as np
import pytest
from hostile import HOSTILE
from PIL import Image

from welllog_ocr import align
from welllog_ocr.core import ConfigError, DataError
from welllog_ocr.data.load import load_split
from welllog_ocr.data.well_table import Value, read_well_table, rows_of_scan
from welllog_ocr.eval.calibration import Calibration
from welllog_ocr.files import read_jsonl, write_jsonl
from welllog_ocr.read.page import Page
from welllog_ocr.read.weak import self_lines, weak_lines

CHARACTERS = list('ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:@#&-/½')

def picture(text:str)->np.ndarray:
    "A line whose letters are blocks with the number of their character as grey level"
    img = np.full((48, 20*len(text) + 20), 255, np.uint8)
    for i, c in enumerate(text):
        if c != ' ': img[10:38, 20*i + 14:20*i + 26] = CHARACTERS.index(c) + 1
    return img

class Reader:
    "Reads such pictures; `unsure`: character -> {character: probability}"
    kinds, characters, calibration = ('line',), CHARACTERS, Calibration()
    def __init__(self, unsure={}): self.unsure = unsure

    def each_log_probs(self, pictures):
        for n, img in enumerate(pictures):
            p, row = np.full((img.shape[1]//8 + 4, len(CHARACTERS) + 1), 1e-7), img[24]
            p[:, 0] = 1
            marks = [(x + 6, int(row[x])) for x in range(1, len(row)) if row[x] < 200 and row[x - 1] != row[x]]
            for k, (x, c) in enumerate(marks):
                odds = self.unsure.get(CHARACTERS[c - 1], {CHARACTERS[c - 1]: .98})
                p[x//8] = 1e-7
                for o, share in odds.items(): p[x//8, CHARACTERS.index(o) + 1] = share
                if k and x - marks[k - 1][0] > 30: p[(x - 20)//8] = 1e-7; p[(x - 20)//8, CHARACTERS.index(' ') + 1] = .98
            yield n, np.log(p/p.sum(1, keepdims=True))

def page_of(*texts, file='a.png'):
    pictures = [picture(t) for t in texts]
    quads = [np.float32([(0, 60*n), (p.shape[1], 60*n), (p.shape[1], 60*n + 48), (0, 60*n + 48)]) for n, p in enumerate(pictures)]
    return Page(file, 0, dict(kind='page'), quads, pictures, [(n, 0) for n in range(len(texts))], Image.new('L', (999, 999), 255))

def texts_of(found): return [l.verdict.text for l in found.lines if not l.verdict.why]

def values(*texts): return [Value('', t) for t in texts]

def test_values_are_found_with_their_labels():
    found = weak_lines(Reader(), page_of('COMPANY EXXON COMPANY U.S.A.', 'COUNTY JACKSON STATE W. VA.', 'WILDCAT'), values('EXXON COMPANY U.S.A.', 'JACKSON', 'W. VA.', 'WALTER'))
    assert texts_of(found) == ['COMPANY EXXON COMPANY U.S.A.', 'COUNTY JACKSON STATE W. VA.']
    assert found.left == values('WALTER') and found.other == 1

def test_what_is_misread_is_corrected_where_the_picture_allows_it():
    reader = Reader({'8': dict(B=.5, **{'8': .4})})
    found = weak_lines(reader, page_of('WELL STATE 8-A'), values('STATE 8-A'))
    assert [(l.verdict.text, l.verdict.prediction, l.verdict.why) for l in found.lines] == [('WELL STATE 8-A', 'WELL STATE B-A', '')]

def test_a_value_that_stands_elsewhere_is_refused():
    found = weak_lines(Reader(), page_of('WELL STATE 8-A', '8200'), values('STATE 9-B', '8202'))
    assert texts_of(found) == [] and all(l.verdict.why for l in found.lines)

def test_the_picture_is_cut_to_what_is_explained():
    found = weak_lines(Reader(), page_of('28 FT. ABOVE QUUX COUNTY JACKSON'), values('28', 'JACKSON'))
    assert texts_of(found) == ['28 FT.', 'COUNTY JACKSON']
    read = dict(Reader().each_log_probs([l.img for l in found.lines]))
    assert len(read) == 2 and [l.img.shape[1] for l in found.lines] < [28*20]*2

def test_letters_are_never_cut():
    touching = page_of('28 QUUX')
    touching.pictures[0][26:38, 30:80] = 1 # ink between the words
    line, = weak_lines(Reader(), touching, values('28')).lines
    assert line.verdict.why == 'no gap to cut through'

def test_wrapped_and_merged_values():
    page = page_of('LOCATION SEC.29, BLK.140', 'T & ST. L. RR', '13 3/8 @ 1000 9 5/8 @ 3966')
    found = weak_lines(Reader(), page, values('SEC.29, BLK.140 T & ST. L. RR', '9 5/8 @ 3966', '13 3/8 @ 1000'))
    assert texts_of(found) == ['LOCATION SEC.29, BLK.140', 'T & ST. L. RR', '13 3/8 @ 1000 9 5/8 @ 3966'] and not found.left

def test_each_value_is_used_once():
    found = weak_lines(Reader(), page_of('8200', '8200', '8202'), values('8200', '8202'))
    assert sorted(texts_of(found)) == ['8200', '8202'] and found.other == 1

def test_sure_readings_become_labels():
    found = self_lines(Reader({'8': dict(B=.5, **{'8': .4})}), page_of('FIELD WILDCAT', '8888', '.'), .5)
    assert texts_of(found) == ['FIELD WILDCAT'] and [l.verdict.why for l in found.lines] == ['', 'confidence is too low']

def test_hostile_texts_stay_texts(tmp_path):
    write_jsonl(tmp_path/'t.jsonl', [dict(file_name='a.png', fields=dict(company='ok'))])
    rows = [dict(file_name='a.png', fields=dict(company=t, well='MC COY'), runs=['x', None, dict(rm=[1])], other=7 if n % 2 else [None], unsure=[{}, 1]) for n, t in enumerate(HOSTILE)]
    (tmp_path/'t.jsonl').write_text('\n'.join(json.dumps(r) for r in rows if r['other'] != 7))
    found = [v for r in read_well_table(tmp_path/'t.jsonl').rows for v in r.values]
    assert all(v.text.encode() for v in found) and Value('well', 'MC COY') in found
    lines = weak_lines(Reader(), page_of('WELL MC COY', 'KB 912'), found).lines
    assert 'WELL MC COY' in [l.verdict.text for l in lines if not l.verdict.why] and all(set(l.verdict.text) <= set(CHARACTERS) for l in lines if not l.verdict.why)

def test_cells_that_cannot_be_used_are_counted(tmp_path):
    (tmp_path/'t.csv').write_text('file_name,company,well,colour,bht\na.tif,EXXON,?,red,\nb.tif,SHELL,[unreadable],blue,132\n')
    table = read_well_table(tmp_path/'t.csv')
    assert [[v.text for v in r.values] for r in table.rows] == [['EXXON'], ['SHELL', '132']]
    assert table.left == {'cells with a ?': 1, 'cells empty': 1, 'cells that are no label': 1, "cells of column 'colour', which is no known field": 2}
    assert rows_of_scan(table, Path('x/A.png'))[0].values[0].text == 'EXXON'
    for text, says in (('company\nEXXON\n', 'no row names a scan'), ('', 'no row names a scan')):
        (tmp_path/'t.csv').write_text(text)
        with pytest.raises(DataError, match=says): read_well_table(tmp_path/'t.csv')
    with pytest.raises(DataError, match='no such file'): read_well_table(tmp_path/'none.csv')
    (tmp_path/'t.txt').write_text('x')
    with pytest.raises(DataError, match='ending'): read_well_table(tmp_path/'t.txt')

@pytest.fixture
def scans(tmp_path, monkeypatch):
    "Three scans, of which one is broken and one is in no row; their pages are made up"
    folder = tmp_path/'scans'
    folder.mkdir()
    for name in ('a.png', 'b.png'): Image.new('L', (40, 40), 255).save(folder/name)
    (folder/'cut.png').write_bytes(b'x')
    def prepare(path, page, finder):
        if Path(path).name == 'cut.png': raise DataError(f'{path}: is cut off')
        return page_of('FIELD WILDCAT', 'WELL STATE 9', file=str(path))
    monkeypatch.setattr(align, 'prepare_page', prepare)
    monkeypatch.setattr(align, 'Detector', lambda threads: None)
    monkeypatch.setattr(align, 'open_reader', lambda name: Reader())
    monkeypatch.setattr(align, 'model_id', lambda name: name)
    write_jsonl(tmp_path/'t.jsonl', [dict(file_name='a.tif', group='47-1', field='WILDCAT', well='STATE 3'), dict(file_name='c.tif', field='X')])
    return folder

def run(*names, output, **more):
    align.main(align._arguments([*map(str, names), '--model', 'm', '--output', str(output), *(f'--{k}={v}' for k, v in more.items())]))
    return [read_jsonl(output/place/'metadata.jsonl') for place in ('train', 'review')]

def test_the_folder_is_a_data_set_and_everything_left_out_is_told(scans, tmp_path, capsys):
    train, review = run(scans, tmp_path/'t.jsonl', output=tmp_path/'out')
    assert [(r['text'], r['group'], r['source'], r['verified'], r['scan']) for r in train] == [('FIELD WILDCAT', '47-1', 'weak', False, 'a')]
    assert [(r['text'], r['prediction']) for r in review] == [('WELL STATE 3', 'WELL STATE 9')] and review[0]['reason']
    assert [s.text for s in load_split(tmp_path/'out/train')[0]] == ['FIELD WILDCAT']
    told = capsys.readouterr().out
    for part in ('1 scans have no values in the table: b.png', '1 rows of the table have no scan here: c', '1 lines accepted', '1 to look at', 'cut.png: is cut off'): assert part in told, told

def test_a_run_that_was_cut_off_continues_and_ends_equal(scans, tmp_path, monkeypatch):
    whole = run(scans, output=tmp_path/'whole', confident=.5)
    real, seen = align.page_row, []
    def dies(folder, page, *more):
        if seen: raise KeyboardInterrupt
        seen.append(page.file)
        return real(folder, page, *more)
    monkeypatch.setattr(align, 'page_row', dies)
    with pytest.raises(KeyboardInterrupt): run(scans, output=tmp_path/'cut', confident=.5)
    assert not (tmp_path/'cut/train/metadata.jsonl').exists() # no data set yet
    monkeypatch.setattr(align, 'page_row', lambda folder, page, *more: seen.append(page.file) or real(folder, page, *more))
    assert run(scans, output=tmp_path/'cut', confident=.5) == whole and len(whole[0]) == 4
    assert [Path(f).name for f in seen] == ['a.png', 'b.png'] # each once
    with pytest.raises(ConfigError, match='two ways of reading'): run(scans, output=tmp_path/'cut', confident=.6)

def test_wrong_arguments(scans, tmp_path):
    for names, more, says in (([scans], {}, 'no table is named'), ([tmp_path/'t.jsonl'], {}, 'no scan is named'), ([scans], dict(confident=2), 'no probability'), ([scans, tmp_path/'t.jsonl'], dict(workers=-1), 'workers'),
                              ([scans, tmp_path/'t.jsonl', tmp_path/'u.csv'], {}, 'several tables')):
        with pytest.raises(ConfigError, match=says): run(*names, output=tmp_path/'o', **more)
    write_jsonl(tmp_path/'v.jsonl', [dict(file_name='a.tif', field='')])
    with pytest.raises(DataError, match='no value'): run(scans, tmp_path/'v.jsonl', output=tmp_path/'o')
