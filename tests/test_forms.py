"Records of headers: drawn sheets against their truth, and pages on which there is no header"
import json
import numpy as np
import pytest
from PIL import Image, ImageDraw

from welllog_ocr.draw.forms import lay_out
from welllog_ocr.draw.page import draw_page, page_lines, page_record
from welllog_ocr.eval.fields import figures, page_cells
from welllog_ocr.read import record
from welllog_ocr.read.backends import Read
from welllog_ocr.read.layout import lay_level

def read_truly(img, lines, m=record):
    "The record of a page whose lines are read without errors; cells are left to the lines"
    quads = [np.float32([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) for x0, y0, x1, y1 in (l['box'] for l in lines)]
    texts = [l['text'] for l in lines]
    found = m.find_cells(np.asarray(img.convert('L')), quads, texts)
    rows = [dict(text=t, confidence=1., box=q.tolist()) for t, q in zip(texts, quads)]
    place, order = (lambda q: q.tolist()), {n: n for n in range(len(rows))}
    return m.to_record(found, [Read(t, 1.) for t in texts], [Read('', 0.)]*len(found.pictures), place, rows, order)

def drawn(i, seed='records', dpi=150):
    page = lay_out(seed, i, dpi)
    return page, draw_page(page), page_lines(page)

def values(record): return [*record['fields'].values(), *(v for run in record['runs'] for v in run.values())]

def test_a_drawn_sheet_has_most_of_its_values():
    whole = 0
    for i in range(6):
        page, img, lines = drawn(i)
        record = read_truly(img, lines)
        cells = page_cells(page_record(page) | dict(file_name='sheet'), record)
        assert record['form'] == page.form and figures([c for c in cells if c['part'] == 'title'])['recall'] >= .6
        whole += len(record['runs']) == len(page.runs) and figures(cells)['f1'] > .65
        json.dumps(record)
    assert whole >= 5 # of the sheets have all their runs

def test_every_value_says_where_it_is():
    _, img, lines = drawn(1)
    record = read_truly(img, lines)
    for v in values(record):
        assert v['text'] and v['how'] == 'cell' and 0 <= v['confidence'] <= 1 and len(v['box']) == 4
        assert all(-20 < x < img.width + 20 and -20 < y < img.height + 20 for x, y in v['box'])
        assert all(0 <= n < len(lines) for n in v['lines'])

def test_a_blank_form_has_no_values():
    _, img, lines = drawn(2)
    record = read_truly(img, [l for l in lines if l['kind'] == 'nothing'])
    assert not values(record)

def test_half_a_header_gives_half_a_record():
    _, img, lines = drawn(3)
    half = img.height//2
    record = read_truly(img.crop((0, 0, img.width, half)), [l for l in lines if l['box'][3] < half])
    whole = read_truly(img, lines)
    assert set(record['fields']) <= set(whole['fields']) | {'location'} and len(record['runs']) <= len(whole['runs'])

def cut_left(i, share=.8):
    "A drawn sheet without the left part of its labels: the words that are whole, and the picture"
    page = lay_out('cut', i, 150)
    labels = [page.marks[k].tight for l in page.lines if l.kind == 'row' for k in l.parts[0]]
    x = round(min(a for a, *_ in labels) + share*(max(c for _, _, c, _ in labels) - min(a for a, *_ in labels)))
    marks = [m for m in page.marks if m.kind == 'text' and not m.data[1] and m.text.strip() and m.tight[0] > x]
    lines = [dict(text=m.text, box=(m.tight[0] - x, m.tight[1], m.tight[2] - x, m.tight[3])) for m in marks]
    return page, draw_page(page).crop((x, 0, page.size[0], page.size[1])), lines

def test_rows_without_labels_are_known_by_their_values():
    right = cells = found = 0
    for i in range(6):
        page, img, lines = cut_left(i)
        record = read_truly(img, lines)
        run = [c for c in page_cells(page_record(page) | dict(file_name='sheet'), record) if c['part'] == 'run']
        right, cells, found = (a + b for a, b in zip((right, cells, found), map(figures(run).get, ('right', 'cells', 'given'))))
    assert right > .4*cells and right > .6*found

def test_two_headers_on_a_page_do_not_fail():
    _, img, lines = drawn(4)
    both = Image.new('L', (2*img.width, img.height), 255)
    both.paste(img, (0, 0)), both.paste(img, (img.width, 0))
    moved = [l | dict(box=(l['box'][0] + img.width, l['box'][1], l['box'][2] + img.width, l['box'][3])) for l in lines]
    json.dumps(read_truly(both, lines + moved))

LETTERS = dict(letter=['Dear Sir', 'we thank you for your order of last week', 'Yours'],
               russian=['Отчёт о скважине', 'Глубина 2500 м'],
               chinese=['测井报告', '井号 12'], numbers=['1200', '33.5', '@', '°F', '"'], nothing=[], empty=['', ' '])

@pytest.mark.parametrize('name', LETTERS)
def test_a_page_of_another_kind_has_an_empty_record(name):
    img = Image.new('L', (900, 700), 255)
    draw = ImageDraw.Draw(img)
    lines = [dict(text=t, box=(60, 60 + 70*n, 60 + 22*len(t), 90 + 70*n)) for n, t in enumerate(LETTERS[name])]
    for l in lines: draw.rectangle(l['box'], outline=0)
    record = read_truly(img, lines)
    assert (record['form'], record['fields'], record['runs']) == ('', {}, [])
    assert [v['value']['text'] for v in record['other']] == [t for t in LETTERS[name] if any(c.isalnum() for c in t)]

@pytest.mark.parametrize('shade', ['black', 'white', 'photo'])
def test_a_photograph_has_an_empty_record(shade):
    grey = dict(black=np.zeros((300, 400), np.uint8), white=np.full((300, 400), 255, np.uint8),
                photo=(np.random.default_rng(0).normal(128, 50, (300, 400)).cumsum(1) % 256).astype(np.uint8))[shade]
    boxes = [dict(text='x', box=(10, 10 + 30*n, 200, 30 + 30*n)) for n in range(6)]
    record = read_truly(Image.fromarray(grey), boxes)
    assert not values(record)

@pytest.mark.parametrize('degrees', [-4, 3])
def test_a_crooked_page_is_laid_level(degrees):
    quads, turn = [], np.tan(np.radians(degrees))
    for n in range(5):
        x, y = 50., 100. + 60*n
        a, b = y + turn*x, y + turn*(x + 400)
        quads.append(np.float32([(x, a), (x + 400, b), (x + 400, b + 24), (x, a + 24)]))
    words = lay_level(np.full((600, 700), 255, np.uint8), quads, ['COMPANY HOPE GAS']*5).words
    rows = {n: {round(w.y) for w in words if w.line == n} for n in range(5)}
    assert all(len(ys) == 1 for ys in rows.values()) and len({y for ys in rows.values() for y in ys}) == 5
