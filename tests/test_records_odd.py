"Records of pages that are no header, half of one, or two: what is known, nothing invented with confidence, never an exception"
import json
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from test_forms import drawn, read_truly, values
from welllog_ocr.models.core import load_recogniser
from welllog_ocr.predict import predict

SURE = .9 # a value above this is taken over without a look

def paper(w=700, h=500): return Image.new('L', (w, h), 255)

def strokes(seed, n=14, rows=9):
    "Rows of letters of no alphabet: strokes in squares, as Chinese has, or in a row, as Cyrillic"
    r, img = np.random.default_rng(seed), paper()
    pen = ImageDraw.Draw(img)
    for row in range(rows):
        for k in range(n):
            x, y = 40 + 45*k, 40 + 50*row
            for _ in range(r.integers(3, 7)):
                a, b = r.integers(0, 30, 2), r.integers(0, 30, 2)
                if r.random() < .6: b[r.integers(2)] = a[r.integers(2)]
                pen.line((x + int(a[0]), y + int(a[1]), x + int(b[0]), y + int(b[1])), 0, 3)
    return img

def typed(*texts, size=26):
    img = paper()
    pen = ImageDraw.Draw(img)
    for n, text in enumerate(texts): pen.text((40, 40 + 55*n), text, 0, ImageFont.load_default(size))
    return img

def photo():
    r = np.random.default_rng(1)
    y, x = np.mgrid[:500, :700]
    return Image.fromarray((128 + 70*np.sin(x/37)*np.cos(y/51) + r.normal(0, 25, y.shape)).clip(0, 255).astype(np.uint8))

PAGES = dict(
    empty=paper, black=lambda: Image.new('L', (600, 400), 0), dot=lambda: Image.new('L', (1, 1), 255), column=lambda: Image.new('1', (1, 900), 1),
    row=lambda: Image.new('RGB', (900, 1)), photo=photo, signs=lambda: strokes(0), more_signs=lambda: strokes(5, 9, 6),
    letter=lambda: typed('Dear Mr. Hale,', 'thank you for the logs of last week.', 'We shall send the others on Monday.', 'Yours truly, J. Smith'),
    invoice=lambda: typed('INVOICE No. 4471', 'Date: 6-14-71', '3 drums of diesel   @ 14.50    43.50', '12 sacks of cement  @ 2.10     25.20', 'TOTAL   68.70'))

@pytest.fixture(scope='module')
def reader(): return load_recogniser()

@pytest.mark.parametrize('name', PAGES)
def test_a_page_without_a_header_has_no_sure_value(reader, tmp_path, name):
    PAGES[name]().save(tmp_path/'page.png')
    row, = predict(reader, [tmp_path/'page.png'], 'page')
    record = row.get('record') or dict(fields={}, runs=[])
    assert [v['text'] for v in values(record) if v['confidence'] > SURE] == [] and len(values(record)) < 4
    json.dumps(row)

def inside(lines, x, y): # whole lines left of x and above y
    return [l for l in lines if l['box'][2] < x and l['box'][3] < y]

def cell_texts(record):
    yield from (((0, n), v['text']) for n, v in record['fields'].items())
    yield from (((i, n), v['text']) for i, r in enumerate(record['runs'], 1) for n, v in r.items())

@pytest.mark.parametrize('i', range(4))
@pytest.mark.parametrize('x, y', [(.55, 1), (.75, 1), (1, .35), (1, .7)])
def test_a_part_of_a_header_has_no_other_values_than_the_whole(i, x, y):
    _, img, lines = drawn(i)
    part = img.crop((0, 0, round(x*img.width), round(y*img.height)))
    whole, half = (dict(cell_texts(r)) for r in (read_truly(img, lines), read_truly(part, inside(lines, *part.size))))
    known = ' '.join(l['text'] for l in lines)
    plain = lambda t: ''.join(c for c in t.lower() if c.isalnum())
    assert len(half) <= len(whole) + 2
    invented = [(k, t) for k, t in half.items() if not all(plain(w) in plain(known) for w in t.split())]
    assert not invented

def test_a_form_never_seen_leaves_its_rows_in_other():
    texts = [('ZUNAME', 'K-4471'), ('KOPPEL', '8450'), ('GRELL', '154'), ('FARBE', '9.4'), ('TRUDE', 'MR. HALE'), ('WIMPEL', '12')]
    lines = [dict(text=t, box=(40 + 400*k, 60 + 50*n, 40 + 400*k + 14*len(t), 86 + 50*n)) for n, pair in enumerate(texts) for k, t in enumerate(pair)]
    record = read_truly(paper(900, 500), lines)
    assert not values(record) and {o['value']['text'] for o in record['other']} == {t for pair in texts for t in pair}

def moved(lines, dx, dy): return [l | dict(box=tuple(v + d for v, d in zip(l['box'], (dx, dy, dx, dy)))) for l in lines]

@pytest.mark.parametrize('i, j', ((0, 1), (2, 3), (8, 9)))
@pytest.mark.parametrize('way', ('beside', 'below'))
def test_of_two_headers_the_first_is_read_and_the_second_is_kept_apart(i, j, way):
    (_, one, lines), (_, two, more) = drawn(i), drawn(j)
    dx, dy = (one.width, 0) if way == 'beside' else (0, one.height)
    both = Image.new('L', (max(one.width, dx + two.width), max(one.height, dy + two.height)), 255)
    both.paste(one, (0, 0)), both.paste(two, (dx, dy))
    alone, found = read_truly(one, lines), read_truly(both, lines + moved(more, dx, dy))
    want, got = dict(cell_texts(alone)), dict(cell_texts(found))
    assert sum(got.get(k) == t for k, t in want.items()) >= .95*max(len(want), len(got)) # the size of the print is that of both
    places = [x if way == 'beside' else y for v in values(found) for x, y in v['box']]
    assert max(places) < (dx or dy) + 20
    flagged = ' '.join(o['value']['text'] for o in found['other'] if 'other_header' in o['value']['flags'])
    kept = [l['text'] for l in more if l['text'].strip() and l['text'] in flagged]
    assert len(kept) > .75*len([l for l in more if l['text'].strip()])
