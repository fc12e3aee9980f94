"""Whole headers: wells whose facts agree, pages and crops that are where their truth says, files that others can read."""
import subprocess, sys
from datetime import date

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from welllog_ocr.core import ConfigError
from welllog_ocr.files import read_jsonl
from welllog_ocr.data.load import load_data
from welllog_ocr.draw.forms import lay_out
from welllog_ocr.draw.page import PER_PAGE, SynthCrops, SynthPages, crops_of, draw_region, page_record, page_lines, page_markdown
from welllog_ocr.draw.faces import writable
from welllog_ocr.synth import write_folder
from welllog_ocr.draw.wells import NO_SECTIONS, PROGRAMMES, arps, inches, make_well
from welllog_ocr.data.states import STATES

NUMBER = st.integers(0, 10**9)

def broken_rules(w)->list[str]:
    "What does not hold together in a well"
    state, county, unique = w.api.split('-')
    counties = STATES[w.state].counties
    yield w.county not in counties, 'county in state'
    yield int(state) != STATES[w.state].code or int(county) != counties.get(w.county) or len(unique) != 5, 'API number'
    yield int(county) % 2 == 0 and w.county not in ('La Paz', 'Cibola', 'Los Alamos'), 'counties have odd numbers'
    yield not w.kb > w.df > w.gl, 'KB > DF > GL'
    yield abs(w.apd - (getattr(w, w.datum) - w.gl)) > .051 or not 4 <= w.apd <= 41, 'above permanent datum'
    yield not 1 <= len(w.runs) <= 4, 'number of runs'
    yield w.state not in ('Texas', *NO_SECTIONS) and not (w.section and w.township and w.range), 'section, township, range'
    yield w.state == 'West Virginia' and bool(w.section or w.township), 'West Virginia has no sections'
    for a, b in zip(w.runs, w.runs[1:]):
        yield not (a.number + 1 == b.number and a.date < b.date and a.tdd < b.tdd and inches(a.bs) >= inches(b.bs)), 'order of runs'
    for n in w.runs:
        yield not date(1927, 1, 1) <= n.date <= date.today(), 'date'
        yield not (n.csgd < n.tdd and n.csgl < n.tdl), 'casing above TD'
        yield abs(n.tdl - n.tdd) > min(50, .01*n.tdd), 'driller and logger'
        yield not 0 <= n.tli < n.bli <= n.tdl, 'log interval'
        yield not (inches(n.bs) < inches(n.csgs) and any((n.csgs, n.bs) in p for p in PROGRAMMES)), 'bit passes the casing'
        yield not n.rmf[0] < n.rm[0] < n.rmc[0], 'Rmf < Rm < Rmc'
        yield abs(n.rmb - arps(*n.rm, n.bht)) > .0051 and abs(n.rmb - arps(*n.rm, n.bht)) > .02*n.rmb, 'Rm at BHT'
        yield not .8 <= (n.bht - 69)/n.tdl*100 + .01 + 1000/n.tdl and n.bht > 60, 'gradient'
        yield not (8.3 <= n.density <= 20 and 6 <= n.ph <= 13 and n.bht >= n.rm[1]*0 + 55), 'mud'

@settings(max_examples=300, deadline=None)
@given(NUMBER)
def test_the_facts_of_a_well_agree(i):
    assert [rule for broken, rule in broken_rules(make_well('rules', i)) if broken] == []

def test_a_broken_well_is_noticed():
    w = make_well('rules', 1)
    run = w.runs[0]
    for bad in (w._replace(kb=w.gl - 1), w._replace(api='99' + w.api[2:]), w._replace(county='Nowhere'), w._replace(runs=(run._replace(rmf=(99., 70)),)), w._replace(runs=(run._replace(csgd=run.tdd),)),
                w._replace(runs=(run._replace(bs='26'),)), w._replace(runs=(run, run)), w._replace(runs=(run._replace(tli=run.bli),))):
        assert any(broken for broken, _ in broken_rules(bad))

@settings(max_examples=40, deadline=None)
@given(NUMBER)
def test_a_layout_says_what_it_shows(i):
    page = lay_out('layout', i, 100)
    w, h = page.size
    assert page.lines and len(page.runs) == len(page.well.runs)
    for m in page.marks:
        if m.kind == 'text':
            assert writable(m.data[0].face, m.text) and m.text == ' '.join(m.text.split())
            assert m.box[0] <= m.tight[0] < m.tight[2] <= m.box[2] and m.box[1] <= m.tight[1] < m.tight[3] <= m.box[3]
    for l in page_lines(page):
        a, b, c, d = l['box']
        assert 0 <= a < c <= w and 0 <= b < d <= h and l['text'] and l['style'] in ('printed', 'typed', 'handwritten')
    shown = ' '.join(l['text'] for l in page_lines(page))
    assert all(word in shown for text in page_record(page)['fields'].values() for word in text.split() if word != '/')
    markdown = page_markdown(page)
    assert markdown.count('<td') >= markdown.count('<tr>')*(1 + len(page.runs)) and page.fields['company'].split()[0] in markdown

def alone(page, ids):
    "The page with these marks and nothing else; the others stay in the list, so that numbers and chance stay"
    return page._replace(marks=tuple(m if i in ids else m._replace(box=(-9, -9, -8, -8)) for i, m in enumerate(page.marks)))

@pytest.mark.parametrize('i', range(10))
def test_ink_lies_in_the_boxes(i):
    page = lay_out('ink', i, 120)
    for line in page.lines[:40]:
        ids = [k for part in line.parts for k in part]
        _, letters = draw_region(alone(page, ids), (0, 0, *page.size))
        boxes = [page.marks[k].tight for k in ids]
        inside = np.zeros_like(letters)
        for a, b, c, d in boxes: inside[max(0, int(b)):int(d) + 1, max(0, int(a)):int(c) + 1] = 1
        assert letters.sum() > 0 and (letters*inside).sum() >= (.85 if any(page.marks[k].style == 'handwritten' for k in ids) else .95)*letters.sum(), page.marks[ids[0]].text # a hand may drift off its line

def test_a_region_is_a_piece_of_the_page():
    for i in range(6):
        page = lay_out('piece', i, 110)
        whole = np.stack(draw_region(page, (0, 0, *page.size)))
        for x, y in ((100, 60), (333, 411), (611, 702)):
            part = np.stack(draw_region(page, (x, y, x + 217, y + 93)))
            assert np.array_equal(part, whole[:, y:y + 93, x:x + 217])

@settings(max_examples=25, deadline=None)
@given(NUMBER)
def test_crops_show_their_line_and_no_other(i):
    page = lay_out('crops', i)
    crops = crops_of(page, PER_PAGE)
    assert len(crops) == PER_PAGE and len({c.box for c in crops}) == PER_PAGE
    for c in crops:
        x0, y0, x1, y1 = c.box
        own = [m for m in page.marks if m.kind == 'text' and not m.data[1] and m.tight[0] >= x0 - 1 and m.tight[2] <= x1 + 1 and m.tight[1] >= y0 - 1 and m.tight[3] <= y1 + 1]
        assert c.text == ' '.join(c.text.split()) and sorted(c.text.split()) == sorted(w for m in own for w in m.text.split())

def test_a_crop_does_not_depend_on_what_was_drawn_before():
    backwards = [s.image.tobytes() for s in list(SynthCrops(20, 'order'))[::-1]][::-1]
    assert backwards == [s.image.tobytes() for s in SynthCrops(20, 'order')]
    later = SynthCrops(8, 'order', start=12)
    assert [s.image.tobytes() for s in later] == backwards[12:]
    assert [s.digest for s in later] == [s.digest for s in SynthCrops(20, 'order')][12:]
    assert len(set(backwards)) == 20 and backwards != [s.image.tobytes() for s in SynthCrops(20, 'other')]

def test_crops_are_what_they_say():
    samples = list(SynthCrops(240, 'say'))
    for s in samples:
        img = s.image
        assert img.size == s.size and img.mode == 'L' and s.kind == 'line' and np.asarray(img).std() > 5, s.id
    style = [s.style for s in samples]
    assert all(style.count(m) > 20 for m in ('printed', 'typed', 'handwritten'))
    assert len({s.text for s in samples}) > 200
    with pytest.raises(IndexError): SynthCrops(3)[3]

def test_pages_are_pure_functions_of_seed_and_number():
    a, b = SynthPages(3, 'pure', dpi=80), SynthPages(1, 'pure', start=2, dpi=80)
    assert (a[2].text, a[2].info, a[2].digest, a[2].size) == (b[0].text, b[0].info, b[0].digest, b[0].size)
    assert a[2].image.tobytes() == b[0].image.tobytes() and a[2].image.size == a[2].size
    assert SynthPages(1, 'pure', dpi=200)[0].size[0] == 1700 and SynthPages(1, 'pure', dpi=400)[0].size[0] == 3400
    with pytest.raises(ConfigError, match='dpi=7'): SynthPages(1, dpi=7)

@pytest.mark.parametrize('kind,format', [('page', 'tiff'), ('page', 'png'), ('crop', 'tiff'), ('crop', 'png')])
def test_folders_can_be_read_back(tmp_path, kind, format):
    write_folder(tmp_path/'a', n=4, kind=kind, format=format, **(dict(dpi=100) if kind == 'page' else {}))
    data = load_data(tmp_path/'a')
    assert (len(data.train), len(data.eval), data.skips, data.leaks) == (3, 1, [], [])
    for row, s in zip(read_jsonl(tmp_path/'a'/'train'/'metadata.jsonl'), data.train):
        with Image.open(tmp_path/'a'/'train'/row['file_name']) as img:
            if format == 'tiff': assert (img.mode, img.info['compression']) == ('1', 'group4')
            if kind == 'page': assert round(float(img.info['dpi'][0])) == 100 == row['dpi']
        black = cv2.imread(str(tmp_path/'a'/'train'/row['file_name']), cv2.IMREAD_GRAYSCALE) # another reader
        assert black.shape == s.image.size[::-1] and 0 < (black < 128).mean() < .95
        if kind == 'page': assert row['lines'] and row['record']['runs'] and s.kind == 'page'

def command(*args): return subprocess.run([sys.executable, '-m', 'welllog_ocr.synth', *map(str, args)], capture_output=True, text=True)

def test_the_command_draws_whole_headers(tmp_path):
    for name in 'ab':
        done = command(tmp_path/name, '--n', 2, '--seed', 4, '--kind', 'page', '--dpi', 90, '--format', 'tiff')
        assert done.returncode == 0 and '1 pages' in done.stdout, done.stderr
    files = sorted(p.relative_to(tmp_path/'a') for p in (tmp_path/'a').rglob('*.*'))
    assert files and all((tmp_path/'a'/f).read_bytes() == (tmp_path/'b'/f).read_bytes() for f in files)
    wrong = command(tmp_path/'c', '--n', 2, '--dpi', 300)
    assert wrong.returncode == 2 and '--kind page' in wrong.stderr

def test_an_untrained_recogniser_reads_most_of_them():
    "A person can read these crops, so a general recogniser should read most of the characters"
    pytest.importorskip('rapidocr')
    from welllog_ocr.eval.predictions import evaluate
    from welllog_ocr.metrics import summarise
    from welllog_ocr.models.ctc import CTCRecogniser
    rows = evaluate(CTCRecogniser.from_pretrained(), list(SynthCrops(96, 'legible')))
    assert summarise(rows)['cer'] < .22
