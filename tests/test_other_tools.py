"""Labels that other tools wrote: the same lines come in from each of their formats, what is broken is told with file and line, and no name leads out of the folder."""
import json
from html import escape

import numpy as np
import pytest
from hostile import HOSTILE
from PIL import Image, ImageDraw

from welllog_ocr.core import DataError
from welllog_ocr.data.load import SampleFinder, load_data, load_split
from welllog_ocr.data.sample import notes_text
from welllog_ocr.review.lines import page_picture, page_place

LINES = [('FIELD WILDCAT & CO <1>', (20, 20, 420, 56)), ('KB 912 ½ FT', (20, 80, 260, 116))]
SIZE  = 600, 400
corners = lambda b: [[b[0], b[1]], [b[2], b[1]], [b[2], b[3]], [b[0], b[3]]]

def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    img = Image.new('L', SIZE, 250)
    for text, (x, y, *_) in LINES: ImageDraw.Draw(img).text((x, y), text, fill=0, font_size=28)
    img.save(path)
    return path

# --- each format as its tool writes it

def paddle_det(d, lines, picture='set/page.png'):
    boxes = [dict(transcription=t, points=corners(b), difficult=False) for t, b in lines]
    (d/'Label.txt').write_text(f'{picture}\t{json.dumps(boxes, ensure_ascii=False)}\n')

def alto(d, lines, picture='page.png', unit='pixel', by=1, base='BASELINE', word=lambda t: f'<String CONTENT="{escape(t)}"/>'):
    line = lambda n, t, b: (f'<TextLine ID="l{n}" HPOS="{b[0]*by}" VPOS="{b[1]*by}" WIDTH="{(b[2] - b[0])*by}" HEIGHT="{(b[3] - b[1])*by}" {base or "LANG"}="{b[0]*by} {b[3]*by} {b[2]*by} {b[3]*by}">'
                            f'<Shape><Polygon POINTS="{" ".join(f"{x*by} {y*by}" for x, y in corners(b))}"/></Shape>{word(t)}</TextLine>')
    (d/'page.xml').write_text(f'''<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Description><MeasurementUnit>{unit}</MeasurementUnit><sourceImageInformation><fileName>{escape(picture)}</fileName></sourceImageInformation></Description>
<Layout><Page WIDTH="{SIZE[0]*by}" HEIGHT="{SIZE[1]*by}"><PrintSpace><TextBlock ID="b">{"".join(line(n, t, b) for n, (t, b) in enumerate(lines))}</TextBlock></PrintSpace></Page></Layout></alto>''', encoding='utf-8')

def kraken(d, lines): # words of a line, a space as an element of its own; the name with the folder it was called from
    alto(d, lines, 'out/page.png', word=lambda t: '<SP/>'.join(f'<String CONTENT="{escape(w)}" WC="0.9"/>' for w in t.split(' ')))

def millimetres(d, lines): alto(d, lines, unit='mm10', by=2.54)

def page(d, lines, picture='page.png', year='2019-07-15', folder='', equiv='<TextEquiv index="1"><Unicode>no</Unicode></TextEquiv><TextEquiv index="0"><Unicode>{}</Unicode></TextEquiv>'):
    line = lambda n, t, b: f'<TextLine id="l{n}"><Coords points="{" ".join(f"{x},{y}" for x, y in corners(b))}"/><Baseline points="{b[0]},{b[3]} {b[2]},{b[3]}"/>{equiv.replace("{}", escape(t))}</TextLine>'
    (d/folder).mkdir(exist_ok=True)
    (d/folder/'page.xml').write_text(f'''<?xml version="1.0" encoding="UTF-8"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/{year}"><Page imageFilename="{escape(picture)}" imageWidth="{SIZE[0]}" imageHeight="{SIZE[1]}"><TextRegion id="r">{"".join(line(n, t, b) for n, (t, b) in enumerate(lines))}</TextRegion></Page></PcGts>''', encoding='utf-8')

def transkribus(d, lines): page(d, lines, '0001_page.png', '2013-07-15', 'page', '<TextEquiv><Unicode>{}</Unicode></TextEquiv>') # the XML lies below the pictures

def percent(b): return dict(x=b[0]/SIZE[0]*100, y=b[1]/SIZE[1]*100, width=(b[2] - b[0])/SIZE[0]*100, height=(b[3] - b[1])/SIZE[1]*100, rotation=0)

def studio(d, lines, picture='/data/upload/3/1f0c77aa-page.png'):
    base = dict(original_width=SIZE[0], original_height=SIZE[1], image_rotation=0, to_name='image')
    parts = lambda n, t, b: [dict(base, id=f'l{n}', from_name='bbox', type='rectangle', value=percent(b)), dict(base, id=f'l{n}', from_name='label', type='labels', value=percent(b) | dict(labels=['Text'])),
                             dict(base, id=f'l{n}', from_name='transcription', type='textarea', value=percent(b) | dict(text=[t]))]
    result = [r for n, (t, b) in enumerate(lines) for r in parts(n, t, b)]
    (d/'project-1.json').write_text(json.dumps([dict(id=1, data=dict(ocr=picture), annotations=[dict(id=7, result=result, was_cancelled=False)], file_upload='1f0c77aa-page.png')]))

def studio_min(d, lines):
    place = [percent(b) | dict(original_width=SIZE[0], original_height=SIZE[1]) for _, b in lines]
    (d/'project-1.json').write_text(json.dumps([dict(ocr='/data/upload/3/1f0c77aa-page.png', id=1, bbox=place, label=[p | dict(labels=['Text']) for p in place], transcription=[t for t, _ in lines],
                                                     annotator=1, annotation_id=7, created_at='x', updated_at='x', lead_time=3.)]))

BOXED = [paddle_det, alto, kraken, millimetres, page, transkribus, studio, studio_min]

@pytest.mark.parametrize('write', BOXED)
def test_the_same_lines_come_in_from_every_tool(tmp_path, write):
    draw(tmp_path/('0001_page.png' if write is transkribus else 'page.png'))
    write(tmp_path, LINES)
    samples, skips = load_split(tmp_path)
    assert [s.text for s in samples] == [t for t, _ in LINES] and not skips and notes_text(samples).startswith('2 labels are from: ')
    whole = np.asarray(Image.open(next(tmp_path.glob('*.png'))))
    for s, (_, (x0, y0, x1, y1)) in zip(samples, LINES):
        assert s.size == (x1 - x0, y1 - y0) and (np.asarray(s.image) == whole[y0:y1, x0:x1]).all() and s.kind == 'line' and s.group == next(tmp_path.glob('*.png')).stem
        facts, data = page_picture(*page_place(SampleFinder(tmp_path)(s.id).info, tmp_path)) # where the inspector shows it on its page
        assert data and np.allclose(facts['box'], [x0/600, y0/400, (x1 - x0)/600, (y1 - y0)/400], atol=.01)
    again, _ = load_split(tmp_path)
    assert [s.digest for s in again] == [s.digest for s in samples] and len({s.digest for s in samples}) == 2

def test_a_list_of_lines_keeps_its_splits(tmp_path):
    for n in 'abcd': draw(tmp_path/f'rec/train/{n}.png')
    for name, rows in (('train', 'ab'), ('val', 'c'), ('test', 'd')): (tmp_path/f'rec/{name}.txt').write_text(''.join(f'/home/me/train_data/rec/train/{n}.png\tTD 13,{n}\n' for n in rows))
    (tmp_path/'rec/train.txt').open('a').write('["train/c.png", "train/d.png"]\tTWO OF IT\n')
    found = load_data(tmp_path/'rec')
    assert [[s.text for s in x] for x in found[:2]] == [['TD 13,a', 'TD 13,b', 'TWO OF IT', 'TWO OF IT'], ['TD 13,c']]
    assert [s.text for s in load_split(tmp_path/'rec', tables=[tmp_path/'rec/test.txt'])[0]] == ['TD 13,d']

def test_easyocr_does_not_quote_commas(tmp_path):
    for split, texts in (('en_train_filtered', ['TD 13,121', '"quoted, text"', 'KB 912']), ('en_val', ['GL 900'])):
        for n in range(len(texts)): draw(tmp_path/split/f'{n}.png')
        (tmp_path/split/'labels.csv').write_text('filename,words\n' + ''.join(f'{n}.png,{t}\n' for n, t in enumerate(texts)))
    assert [[s.text for s in x] for x in load_data(tmp_path)[:2]] == [['TD 13,121', 'quoted, text', 'KB 912'], ['GL 900']]

def test_boxes_count_before_what_was_cut_out_of_them(tmp_path):
    draw(tmp_path/'page.png'), draw(tmp_path/'crop_img/page_crop_0.png'), paddle_det(tmp_path, LINES)
    (tmp_path/'rec_gt.txt').write_text('crop_img/page_crop_0.png\tFIELD WILDCAT\n'), (tmp_path/'fileState.txt').write_text('/x/page.png\t1\n')
    assert [s.id for s in load_split(tmp_path)[0]] == ['page.png#1', 'page.png#2']
    assert [s.group for s in load_split(tmp_path, tables=[tmp_path/'rec_gt.txt'])[0]] == ['page']

def test_page_counts_before_alto(tmp_path):
    draw(tmp_path/'0001_page.png'), transkribus(tmp_path, LINES), (tmp_path/'alto').mkdir(), alto(tmp_path/'alto', LINES, '0001_page.png')
    assert notes_text(load_split(tmp_path)[0]) == '2 labels are from: PAGE XML'

def test_places_are_those_of_the_picture_that_was_labelled(tmp_path):
    big = draw(tmp_path/'page.png')
    Image.open(big).resize((1200, 800)).save(big)                          # labelled on a copy of half the size
    studio(tmp_path, LINES)
    assert [s.size for s in load_split(tmp_path)[0]] == [(800, 72), (480, 72)]
    (tmp_path/'project-1.json').unlink()
    Image.open(big).resize((600, 200)).save(tmp_path/'page.tif', dpi=(200, 100)) # a fax: twice as many dots across as down
    big.unlink()
    boxes = [(t, (x0, y0//2, x1, y1//2)) for t, (x0, y0, x1, y1) in LINES]
    paddle_det(tmp_path, boxes, 'set/page.tif')
    assert [s.size for s in load_split(tmp_path)[0]] == [(400, 36), (240, 36)]

@pytest.mark.parametrize('write', [studio, studio_min, lambda d, lines: alto(d, lines, base='')])
def test_lines_that_stand_are_laid_down(tmp_path, write):
    line = Image.new('L', (460, 40), 255)
    ImageDraw.Draw(line).text((6, 2), 'COMPANY: TEXACO INC.', fill=0, font_size=34)
    page, places = Image.new('L', SIZE, 255), []
    for x, way in ((100, 90), (300, 270)):                                # one is read upwards, one downwards
        part = line.crop((0, 0, 380, 40)).rotate(way, expand=True)
        page.paste(part, (x, 5))
        places.append(('COMPANY: TEXACO INC.', (x, 5, x + 40, 385)))
    page.save(tmp_path/'page.png')
    write(tmp_path, places)
    for s in load_split(tmp_path)[0]: assert s.size == (380, 40) and (np.asarray(s.image) == np.asarray(line)[:, :380]).all()

def test_a_line_of_a_picture_too_large_to_hold(tmp_path):
    tall = Image.new('1', (1700, 40_000), 1)
    ImageDraw.Draw(tall).text((50, 30_000), 'DEEP', fill=0, font_size=90)
    tall.save(tmp_path/'log.tif', compression='group4')
    paddle_det(tmp_path, [('DEEP', (40, 29_990, 340, 30_110))], 'log.tif')
    (s,), _ = load_split(tmp_path)
    assert s.size == (300, 120) and np.asarray(s.image).min() == 0

# --- what goes wrong

def bad_json(d): paddle_det(d, LINES); (d/'Label.txt').write_text((d/'Label.txt').read_text()[:90])
def other_version(d): page(d, LINES); (d/'page.xml').write_text((d/'page.xml').read_text().replace('gts/pagecontent/2019', 'next/3000'))
def cut_off(d): alto(d, LINES); (d/'page.xml').write_text((d/'page.xml').read_text()[:-400])
def entities(d): alto(d, LINES); (d/'page.xml').write_text((d/'page.xml').read_text().replace('?>', '?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>', 1))
def latin(d): (d/'Label.txt').write_bytes('page.png\tTD 8½\n'.encode('cp1252'))
def two_truths(d): paddle_det(d, LINES), studio(d, LINES)
def two_lists(d): [(d/f'{n}.txt').write_text('page.png\tKB 912\n') for n in ('one', 'two')]
def studio_cut(d): studio(d, LINES); (d/'project-1.json').write_text((d/'project-1.json').read_text()[:-30])
def no_pairs(d): studio_min(d, LINES); (d/'project-1.json').write_text((d/'project-1.json').read_text().replace('"transcription": [', '"transcription": ["one more", '))
def nothing(d): (d/'page.xml').write_text('<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"/>')
def tabs(d): (d/'list.txt').write_text('page.png\tKB 912\npage.png\tKB\t912\n')
def outside(d): paddle_det(d, [('GONE', (900, 10, 1200, 40))])
def thin(d): alto(d, [('THIN', (10, 10, 200, 11))])
def another_picture(d): page(d, LINES), Image.new('L', (400, 600)).save(d/'page.png')
def missing(d): studio(d, LINES, 's3://bucket/gone.png')
def untyped(d): page(d, LINES, equiv='')
def far(d): page(d, [('FAR', (1e9, 0, 2e9, 20))])

@pytest.mark.parametrize('spoil,why', [(bad_json, 'Label.txt, line 1: is not whole JSON'), (other_version, 'page.xml, line 2: is PAGE XML of the version'), (cut_off, 'page.xml, line 3: is not whole XML'),
    (entities, 'line 1: has a document type'), (latin, 'line 1: byte 0xbd is not UTF-8'), (two_truths, 'only one can be the truth; name the file'), (two_lists, 'only one can be the truth'), (studio_cut, 'line 1: is not whole JSON'),
    (no_pairs, 'task 1: has 2 boxes and 3 texts'), (nothing, 'without a line or a text'), (tabs, 'list.txt, line 2: has 2 tabs'), (outside, 'line 1, box 1: .*lies outside of the picture, which is 600 x 400'), (thin, 'page.xml, line 3: .*less than 3 pixels'),
    (another_picture, 'labels are of a picture of 600 x 400, and this one has 400 x 600'), (missing, 'gone.png'), (untyped, 'the text is empty'), (far, 'are no corners of a line')])
def test_what_is_wrong_is_told_with_file_and_line(tmp_path, spoil, why):
    draw(tmp_path/'page.png')
    spoil(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=why) as e: load_data(tmp_path)
    assert len(str(e.value)) < 900 and sorted(tmp_path.iterdir()) == before

IN_XML = [t for t in HOSTILE if not any(ord(c) < 32 or '\ud800' <= c <= '\udfff' for c in t)]

@pytest.mark.parametrize('write', [paddle_det, alto, page, studio, studio_min])
def test_texts_are_texts(tmp_path, write):
    draw(tmp_path/'page.png')
    texts = IN_XML if write in (alto, page) else [t for t in HOSTILE if '\ud800' not in t]
    write(tmp_path, [(t, (10, 10, 300, 40 + n)) for n, t in enumerate(texts)])
    samples, skips = load_split(tmp_path)
    assert len(samples) == len(texts) > 40 and not skips
    assert all(s.text.replace(' ', '')[:5] in t.replace('\ufeff', '').replace('\u200b', '').replace(' ', '') for s, t in zip(samples, texts))

NAMES = ['../secret.png', '/etc/passwd', '..\\..\\secret.png', 'file:///etc/passwd', 'http://x/../../secret.png', '/data/local-files/?d=../secret.png', 'a\0.png', 'x'*400 + '.png', '<script>alert(1)</script>.png', '"\'.png', 'a\nb.png', '.', '', '/', 'link.png',
         'sub/../../secret.png', '%2e%2e/secret.png', 'CON', '~/.ssh/id_rsa', '$(touch x).png', '`x`.png', '\u202egnp.x', 'C:\\Windows\\win.ini', '//server/share.png', 'secret.png']

@pytest.mark.parametrize('write', [paddle_det, alto, page, studio])
def test_no_name_leads_out_of_the_folder(tmp_path, write):
    draw(tmp_path/'secret.png'), (tmp_path/'set').mkdir(), (tmp_path/'set/link.png').symlink_to(tmp_path/'secret.png')
    for name in NAMES:
        name = name.replace('\0', '').replace('\n', ' ') if write in (alto, page) else name.replace('\n', ' ') if write is paddle_det else name
        write(tmp_path/'set', LINES, name)
        with pytest.raises(DataError): load_split(tmp_path/'set')
    assert {p.name for p in tmp_path.iterdir()} == {'secret.png', 'set'}

def test_what_was_read_comes_back_from_label_studio(tmp_path):
    "Every hostile text, on scans of hostile names, as tasks, through agreement, to training lines and records"
    from welllog_ocr.read.export import write_as
    from welllog_ocr.files import write_jsonl
    texts, rows = [t for t in HOSTILE if '\ud800' not in t], []
    for n, name in enumerate(['a "b".png', "c'd;e.png", '<script>alert(1)</script>.png', 'x'*240 + '.png', '\u202egnp.png', 'a&amp;b.png', ' .png', '%2e%2e%2f.png']):
        draw(tmp_path/'scans'/name)
        lines = [dict(text=t, confidence=.5, row=k, box=corners((20, 20, 420, 50 + k))) for k, t in enumerate(texts[n::8])]
        rows.append(dict(file=str(tmp_path/'scans'/name), page=0, kind='page', model='m', turns=0, region=[0, 400], lines=lines, record=dict(fields=dict(field=dict(text='WILDCAT', box=lines[0]['box'], confidence=.9)), runs=[])))
    write_jsonl(tmp_path/'out.jsonl', rows)
    write_as(tmp_path/'out.jsonl', tmp_path/'out.labelstudio.json')
    tasks = json.loads((tmp_path/'out.labelstudio.json').read_text())
    for t in tasks: t['annotations'] = [dict(result=t['predictions'][0]['result'])]
    (tmp_path/'project.json').write_text(json.dumps(tasks))
    samples, skips = load_split(tmp_path, tables=[tmp_path/'project.json'])
    assert not skips and len([s for s in samples if s.kind != 'record']) == len(texts) and [s.text for s in samples if s.kind == 'record'] == ['{"fields":{"field":"WILDCAT"},"runs":[]}']*8
    assert len(list((tmp_path/'out').glob('*.png'))) == 8 and {p.name for p in tmp_path.iterdir()} == {'scans', 'out', 'out.jsonl', 'out.labelstudio.json', 'project.json'}
