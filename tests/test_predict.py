"The command over whole folders: bad scans, kills, every format of output"
import csv, json, os, random, shutil, signal, subprocess, sys, time
from pathlib import Path

import pytest
import torch
from PIL import Image

from welllog_ocr.core import _MORE, ConfigError, DataError
from welllog_ocr.files import read_jsonl
from welllog_ocr.models.core import Prediction, Recogniser
from welllog_ocr.models.ctc import _output_layer, tiny_ctc
from welllog_ocr.draw.page import SynthPages
from welllog_ocr.read.backends import open_reader
from welllog_ocr.read.export import TABLES, WRITERS, write_as
from welllog_ocr.predict import _arguments, main, predict

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A model that reads noise, and the upper part of a drawn sheet"
    folder, rec = tmp_path_factory.mktemp('predict'), tiny_ctc()
    with torch.no_grad(): _output_layer(rec.model).bias[0] -= 5
    rec.save_pretrained(folder/'model')
    open_reader(str(folder/'model')) # now it is there as ONNX
    SynthPages(1, seed=5, dpi=100)[0].image.crop((0, 0, 800, 480)).save(folder/'sheet.png')
    return folder

def run(place, scans, output, **more):
    main(_arguments([*map(str, scans), '--model', str(place/'model'), '--output', str(output), *(f'--{k}={v}' for k, v in more.items())]))
    return read_jsonl(Path(output).with_name(Path(output).name.split('.')[0] + '.jsonl'))

def empty_pdf()->bytes:
    return (b'%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\nxref\n0 3\n0000000000 65535 f \n0000000009 00000 n \n'
            b'0000000052 00000 n \ntrailer<</Size 3/Root 1 0 R>>\nstartxref\n98\n%%EOF\n')

def locked_pdf()->bytes:
    return (b'%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]>>endobj\n'
            b'4 0 obj<</Filter/Standard/V 1/R 2/O<' + b'1f'*32 + b'>/U<' + b'2e'*32 + b'>/P -44>>endobj\ntrailer<</Size 5/Root 1 0 R/Encrypt 4 0 R/ID[<01><01>]>>\n%%EOF\n')

def test_bad_scans_are_listed_and_cost_nothing_else(place, tmp_path, capsys):
    scans = tmp_path/'scans'
    scans.mkdir()
    sheet = Image.open(place/'sheet.png').convert('L')
    sheet.save(scans/'a.png')
    sheet.convert('RGB').save(scans/'colour.jpg')
    sheet.save(scans/'pages.tif', save_all=True, append_images=[sheet.rotate(90, expand=True)])
    Image.effect_noise((300, 200), 40).save(scans/'photo.jpg')
    Image.new('L', (1, 1), 255).save(scans/'dot.png')
    (scans/'empty.pdf').write_bytes(empty_pdf())
    (scans/'locked.pdf').write_bytes(locked_pdf())
    (scans/'nothing.tif').write_bytes(b'')
    (scans/'cut.jpg').write_bytes((scans/'colour.jpg').read_bytes()[:3000])
    rows = run(place, [scans], tmp_path/'out.jsonl')
    by = {(Path(r['file']).name, r['page']): r for r in rows}
    assert len(rows) == len(by) == 10 and {k for k, r in by.items() if 'error' in r} == {(n, 0) for n in ('empty.pdf', 'locked.pdf', 'nothing.tif', 'cut.jpg')}
    assert by['dot.png', 0]['lines'] == [] and by['dot.png', 0]['text'] == ''
    assert len(by['a.png', 0]['lines']) > 10 and by['pages.tif', 1]['turns'] == 3
    told, way = capsys.readouterr()
    assert '6 pages, ' in told and '4 left out' in told and 'locked.pdf' in told
    assert 'look first at: ' in told and f'written: {tmp_path/"out.jsonl"}' in told
    assert way.startswith('reading the first pages\n') and '\r' not in way
    again, first = run(place, [scans], tmp_path/'out.jsonl'), told
    told = capsys.readouterr().out # of the pages of both runs
    assert '6 of the pages in an earlier run' in told and told.splitlines()[1:] == first.splitlines()[1:]
    assert {(r['file'], r['page']) for r in again} == {(r['file'], r['page']) for r in rows} and len(again) == 10

def test_turned_page_has_its_boxes_on_the_stored_scan(place, tmp_path):
    sheet = Image.open(place/'sheet.png').convert('L')
    sheet.save(tmp_path/'a.png'), sheet.transpose(Image.Transpose.ROTATE_90).save(tmp_path/'b.png')
    a, b = predict(tiny_noise(place), [tmp_path/'a.png', tmp_path/'b.png'])
    assert (a['turns'], b['turns']) == (0, 3) and [l['text'] for l in a['lines']] == [l['text'] for l in b['lines']]
    for p, q in zip(a['lines'], b['lines']): # a point (x, y) of the upright sheet lies at (y, width - x) on the turned one
        assert all(abs(y - u) < 2 and abs(sheet.width - x - v) < 2 for (x, y), (u, v) in zip(p['box'], q['box']))

def tiny_noise(place):
    from welllog_ocr.models.core import load_recogniser
    return load_recogniser(str(place/'model'))

def test_refusals(place, tmp_path):
    with pytest.raises(DataError, match='no such file'): run(place, [tmp_path/'lost.png'], tmp_path/'x.jsonl')
    (tmp_path/'none').mkdir()
    with pytest.raises(DataError, match='holds no scans'): run(place, [tmp_path/'none'], tmp_path/'x.jsonl')
    with pytest.raises(ConfigError, match='none of .jsonl'): run(place, [place/'sheet.png'], tmp_path/'x.docx')
    run(place, [place/'sheet.png'], tmp_path/'y.jsonl')
    with pytest.raises(ConfigError, match='two ways of reading'): run(place, [place/'sheet.png'], tmp_path/'y.jsonl', kind='line')
    shutil.copytree(place/'model', tmp_path/'other')
    config = tmp_path/'other'/'config.json'
    config.write_text(config.read_text() + ' ')
    with pytest.raises(ConfigError, match='two ways of reading'): main(_arguments([str(place/'sheet.png'), '--model', str(tmp_path/'other'), '--output', str(tmp_path/'y.jsonl')]))
    (tmp_path/'other'/'config.json').write_text('{"model_type": "bert"}')
    with pytest.raises(Exception, match="'bert' model"): main(_arguments([str(place/'sheet.png'), '--model', str(tmp_path/'other')]))
    (tmp_path/'bad.png').write_bytes(b'nothing')
    with pytest.raises(DataError, match='none of the 1 scans'): run(place, [tmp_path/'bad.png'], tmp_path/'z.jsonl')

def test_formats_agree(place, tmp_path):
    rows = run(place, [place/'sheet.png'], tmp_path/'r.csv', rows='line')
    run(place, [place/'sheet.png'], tmp_path/'r.json')
    assert json.loads((tmp_path/'r.json').read_text()) == rows
    table = list(csv.DictReader((tmp_path/'r.csv').open(newline='', encoding='utf-8-sig')))
    assert [r['text'] for r in table] == [l['text'] for l in rows[0]['lines']]

def test_every_format_is_written_from_what_was_read(place, tmp_path):
    shutil.copy(place/'sheet.png', tmp_path/'b.png')
    for rows in ('scan', 'run', 'line'):
        ends = [*WRITERS][1:] if rows == 'scan' else TABLES
        run(place, [place/'sheet.png', tmp_path/'b.png'], tmp_path/f'r{[*ends][-1]}', rows=rows)
        for end in [*ends][:-1]: write_as(tmp_path/'r.jsonl', tmp_path/f'r{end}', rows)
    each = {'.hocr', '.alto.xml', '.page.xml', '.las'} # a file for each page
    assert {p.name[1:] for p in tmp_path.glob('r.*')} == WRITERS.keys() - each and all(len(list((tmp_path/'r').glob(f'*{end}'))) == 2 for end in each)

ALONE = """import runpy, sys
sys.modules.update(dict.fromkeys([*sys.argv.pop(1).split(), 'IPython', 'openpyxl', 'lasio', 'datasette', 'ray'])) # as if not installed
runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)
"""

def alone(*words): return subprocess.run([sys.executable, '-c', ALONE, ' '.join(_MORE), *map(str, words)], capture_output=True, text=True)

def test_the_package_alone_reads(place, tmp_path): # without torch and all that trains
    shutil.copytree(place/'model', tmp_path/'new', ignore=shutil.ignore_patterns('.*.onnx'))
    words = 'welllog_ocr.predict', place/'sheet.png', '--kind', 'page', '--output', tmp_path/'found.csv'
    done, refused = alone(*words, '--model', place/'model'), alone(*words, '--model', tmp_path/'new')
    assert not done.returncode, done.stderr
    assert (tmp_path/'found.csv').is_file() and read_jsonl(tmp_path/'found.jsonl')[0]['lines']
    assert refused.returncode == 3 and 'pip install "welllog_ocr[train]", or read with a model in an .onnx file' in refused.stderr
    assert alone('welllog_ocr.train').returncode == 3 and 'welllog_ocr[review]' in alone('welllog_ocr.inspector', 'x').stderr

def test_a_new_format_is_one_line(place, tmp_path, monkeypatch):
    monkeypatch.setitem(WRITERS, '.foo', lambda rows: (row['text'] + '\n' for row in rows))
    row, = run(place, [place/'sheet.png'], tmp_path/'r.foo')
    assert (tmp_path/'r.foo').read_text() == row['text'] + '\n'
    with pytest.raises(ConfigError, match='.las and .foo'): run(place, [place/'sheet.png'], tmp_path/'x.docx')

def test_a_scan_is_known_by_its_content_and_its_place(place, tmp_path, monkeypatch):
    from welllog_ocr.core import stable_hash
    from welllog_ocr.read import scans as module
    sheet, scans, out = Image.open(place/'sheet.png').convert('L').crop((0, 0, 400, 200)), tmp_path/'a'/'scans', tmp_path/'out.jsonl'
    scans.mkdir(parents=True)
    sheet.save(scans/'two.tif', save_all=True, append_images=[sheet]), sheet.save(scans/'one.png')
    hashed = []
    monkeypatch.setattr(module, 'sha256_file', lambda p: hashed.append(p.name) or stable_hash(p.read_bytes().hex()))
    first = run(place, [scans], out)
    assert sorted(hashed) == ['one.png', 'two.tif'] and len(first) == 3 # a file once, not once a page
    old = [{k: v for k, v in r.items() if k not in ('place', 'stamp')} for r in first]
    out.write_text(''.join(json.dumps(r) + '\n' for r in old))
    assert run(place, [scans], out) == old # written by an earlier version
    out.write_text(''.join(json.dumps(r) + '\n' for r in first))
    moved = (tmp_path/'a').rename(tmp_path/'b')/'scans'
    hashed.clear()
    assert run(place, [moved], out) == first and not hashed # mounted elsewhere
    os.utime(moved/'one.png', (1, 1))
    assert run(place, [moved], out) == first and hashed == ['one.png'] # touched, and the same
    run(place, [moved], other := tmp_path/'other.jsonl')
    sheet.rotate(180).save(moved/'one.png') # replaced
    rows = run(place, [moved], other)
    assert [(r['place'], r['page']) for r in rows] == [('two.tif', 0), ('two.tif', 1), ('one.png', 0)] and rows[2]['sha256'] != first[0]['sha256']

def test_names_that_are_not_utf8(place, tmp_path, capsys):
    "Two bytes that are no UTF-8, in a folder and in its files: read, written in every format, known again, found by a reviewer"
    from welllog_ocr.read.picking import cut_lines, lines_of
    scans = tmp_path/os.fsdecode(b'Br\xfccke\xff')
    scans.mkdir()
    small = Image.open(place/'sheet.png').convert('L').crop((0, 0, 400, 200))
    small.save(good := scans/os.fsdecode(b'M\xfchle.png')), small.save(tmp_path/'a.pdf'), (tmp_path/'a.pdf').rename(scans/os.fsdecode(b'\xe4.pdf'))
    (scans/os.fsdecode(b'cut\xfc.tif')).write_bytes(b'II*\0no more')
    for end in ('.csv', '.las'): rows = run(place, [scans], tmp_path/f'out{end}', overlay=tmp_path/'overlay')
    for end in [*WRITERS][1:]: write_as(tmp_path/'out.jsonl', tmp_path/f'out{end}')
    assert capsys.readouterr().out.count('2 of the pages in an earlier run') == 1
    assert [r['place'] for r in rows] == [r'M\xfchle.png', r'\xe4.pdf', r'cut\xfc.tif'] and rows[0]['file'] == rf'{tmp_path}/Br\xfccke\xff/M\xfchle.png'
    assert 'cannot be decoded' in rows[2]['error'] and len(list((tmp_path/'overlay').iterdir())) == 2
    assert next(csv.DictReader((tmp_path/'out.csv').open(newline='', encoding='utf-8-sig')))['link'] == good.as_uri()
    assert run(place, [good], tmp_path/'out.jsonl') == rows[:2]
    assert cut_lines(lines_of(rows[0]))[1] == []

def test_linked_folders_and_odd_endings(place, tmp_path):
    from collections import Counter
    from welllog_ocr.read.page import scan_files
    far, scans = tmp_path/'far', tmp_path/'scans'
    for folder in (far/'deep', scans/'z'): folder.mkdir(parents=True)
    for name in (far/'a.png', far/'deep'/'b.tif', scans/'z'/'c.png'): name.write_bytes(b'')
    jpeg = scans/'scan.jfif'
    Image.open(place/'sheet.png').convert('L').save(jpeg, 'JPEG')
    for name in ('scan', 'scan.tif_', 'scan.doc'): shutil.copy(jpeg, scans/name)
    Image.new('L', (9, 9)).save(scans/'d.gif'), (scans/'e.txt').write_text('well'), os.mkfifo(scans/'pipe')
    (scans/'gone.txt').symlink_to('nowhere'), (scans/'far').symlink_to(far), (scans/'y').symlink_to(scans/'z'), (far/'deep'/'back').symlink_to(scans), (far/'self').symlink_to(far)
    no = Counter()
    places = [s.place for s in scan_files([scans], others=no)]
    assert places == ['scan', 'scan.doc', 'scan.jfif', 'scan.tif_', 'z/c.png', 'far/a.png', 'far/deep/b.tif']
    assert no == {'.gif': 1, '.txt': 2, 'no ending': 1}

def test_a_page_without_text_has_a_row(place, tmp_path, capsys):
    scans = tmp_path/'scans'
    scans.mkdir()
    Image.new('L', (400, 300), 255).save(scans/'blank.png'), (scans/'notes.txt').write_text('well')
    for rows in ('line', 'scan', 'run'):
        blank, = run(place, [scans], tmp_path/'r.csv', rows=rows)
        row, = csv.DictReader((tmp_path/'r.csv').open(newline='', encoding='utf-8-sig'))
        assert row['file'] == str(scans/'blank.png') and not any(row.get(k) for k in ('text', 'confidence', 'error', 'company'))
    assert blank['lines'] == [] and blank['confidence'] is None
    told = capsys.readouterr().out
    assert f'on 1 no text was found: {scans/"blank.png"}' in told and '1 other file, no PNG, JPEG, TIFF, WebP or PDF: 1 .txt' in told
    main(_arguments([str(scans/'blank.png'), '--model', str(place/'model')]))
    assert '(0 lines)' in capsys.readouterr().out

def test_a_scan_replaced_and_named_otherwise_has_one_row(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'scans').mkdir()
    Image.open(place/'sheet.png').convert('L').crop((0, 0, 400, 200)).save('scans/a.png')
    names = 'scans', 'scans/a.png', tmp_path/'scans', '.', tmp_path/'scans'/'a.png', './scans/../scans'
    first = [run(place, [n], tmp_path.parent/f'{tmp_path.name}.jsonl') for n in names]
    assert {len(rows) for rows in first} == {1}
    for n in names[-2:]:
        Image.new('L', (400, 200 + len(str(n))), 255).save('scans/a.png')
        row, = run(place, [n], tmp_path.parent/f'{tmp_path.name}.jsonl')
        assert row['sha256'] != first[0][0]['sha256'] and row['lines'] == []

@pytest.mark.parametrize('n, size', [(400, None), (170, 300)])
def test_a_very_long_line_is_read_in_parts(n, size, tmp_path):
    from PIL import ImageDraw, ImageFont
    text = ('REMARKS: TOOL STUCK AT 8450 FT, PULLED FREE WITH 4000 LBS. MUD CUT BY GAS AT 7712. '*9)[:n].strip()
    font = ImageFont.load_default(34)
    line = Image.new('L', (round(font.getlength(text)) + 20, 46), 255)
    ImageDraw.Draw(line).text((10, 2), text, fill=0, font=font)
    ImageDraw.Draw(line).line((0, 44, line.width, 44), fill=0) # underlined
    img = line if size is None else Image.new('L', (line.width + 80, size), 255)
    for y in () if size is None else (40, 140): img.paste(line, (40, y))
    img.save(tmp_path/'wide.png')
    row, = predict(open_reader('PP-OCRv6-small'), [tmp_path/'wide.png'])
    assert row['text'].split('\n') == [text]*(1 if size is None else 2)

class Pages(Recogniser):
    "Reads whole pages, and says how large they were"
    kinds = ('page',)
    def __init__(self): super().__init__(); self.one = torch.nn.Parameter(torch.zeros(1))
    def cost(self, sample): return 1
    def collate(self, samples, cost=0): return dict(sizes=[list(s.image.size) for s in samples])
    def transcribe(self, batch): return [Prediction(f'FIELD WILDCAT\n{w} x {h}', .7) for w, h in batch['sizes']]

def test_a_model_of_pages_reads_the_page_as_a_whole(place):
    row, = predict(Pages(), [place/'sheet.png'])
    assert row['text'].split('\n')[0] == 'FIELD WILDCAT' and [l['box'] for l in row['lines']] == [[], []]

CHILD = '''
import sys
sys.argv = ['predict', *sys.argv[1:]]
from welllog_ocr.predict import _arguments, main
main(_arguments())
'''

def kill(place, folder, n, kills, seed=0):
    "Read `n` copies of a small sheet; kill the command `kills` times on the way; how many were there at each kill"
    scans = folder/'scans'
    scans.mkdir()
    for i in range(n): os.link(place/'small.png', scans/f'{i:05}.png')
    args = [sys.executable, '-c', CHILD, str(scans), '--model', str(place/'model'), '--output', str(folder/'out.jsonl')]
    env, at, rng, out = dict(os.environ, OMP_NUM_THREADS='1'), [], random.Random(seed), folder/'out.jsonl'
    count = lambda: out.read_bytes().count(b'\n') if out.exists() else 0
    for k in range(kills):
        before, child = count(), subprocess.Popen(args, env=env, stdout=subprocess.DEVNULL)
        goal = before + rng.randint(1, max(1, (n - before)//(kills - k + 1)))
        while count() < goal and child.poll() is None: time.sleep(.005)
        assert child.poll() is None, 'it ended before it could be killed'
        child.send_signal(signal.SIGKILL), child.wait()
        at.append(count())
        if k % 2: # and the last row was only half on the disk
            out.write_bytes(out.read_bytes()[:-40])
    assert subprocess.run(args, env=env, stdout=subprocess.DEVNULL).returncode == 0
    names = [Path(r['file']).name for r in read_jsonl(out)]
    assert sorted(names) == [f'{i:05}.png' for i in range(n)], 'a page is lost, or stands twice'
    return at

@pytest.fixture(scope='module')
def small(place):
    "A corner of the sheet, so that a page takes little time"
    Image.open(place/'sheet.png').convert('L').crop((0, 0, 400, 200)).save(place/'small.png')
    return place

def test_a_killed_run_goes_on(small, tmp_path):
    assert len(kill(small, tmp_path, 24, 1)) == 1

@pytest.mark.soak
def test_a_thousand_pages_killed_five_times(small, tmp_path, reliability):
    at = kill(small, tmp_path, 1000, 5)
    reliability('predict killed, then started again', len(at), len(at), 'every page once')
