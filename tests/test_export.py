"Records in files: every text as it was read, whatever it looks like, in every format."
import csv, io, json, sys, zipfile

import lascheck, lasio, openpyxl, pytest
import pyarrow.parquet as pq
from conftest import ROOT
from hostile import HOSTILE as NASTY
from hypothesis import given, settings, strategies as st

from welllog_ocr.core import ConfigError, SetupError
from welllog_ocr.files import write_jsonl
from welllog_ocr.read.export import ROWS, TABLES, WRITERS, rows_file, show_wells, to_las, write_as
from welllog_ocr.read.validators import finish_record
from welllog_ocr.vocabulary import FIELDS

FORMULAS = ['=1+1', '=HYPERLINK("http://x.example","y")', '+44 20', '-2+3', '@SUM(A1)', '  =1', '\t=1', '＝1+1', '=cmd|\' /C calc\'!A0', '#N/A', '#REF!', 'TRUE', '1e5', '007', '1/2', '{=1}']
HOSTILE  = ['a:b', 'MSFL: 12', '10:30', ' : ', '"quoted"', '9-5/8" @ 5,350', '~A', '# no', '11,100', '0052', '10.0', 'nan', 'inf', '1 : 2 : 3', '', '.', 'x.y : z', '[1]', '(2)', 'Ünï ½ °F №', '<b>', 'a | b', '1000 psi', ',;\t', "'", '23:59:59']

def value(text, **more): return dict(text=text, value=None, unit='', confidence=.5, flags=[], box=[], lines=[], how='cell') | more

def record_of(texts, runs=2):
    "Each field of the vocabulary has a text, and each run"
    texts = iter(texts)
    of = lambda part: {n: value(next(texts)) for n, f in FIELDS.items() if f.part == part}
    return dict(form='api_rp31', fields=of('title'), runs=[of('run') for _ in range(runs)], other=[dict(label='Rig: 1', value=value('=2'))])

def page(record=None, file='scans/a.png', **more):
    row = dict(file=file, page=0, sha256='', model='m', how='auto', kind='page', text='', lines=[], confidence=.5)
    return row | (dict(record=record) if record else {}) | more

def endless(texts):
    while True: yield from texts

def texts_of(record):
    return {f'{before}{n}': v['text'] for before, values in [('', record['fields']), *((f'run{i}_', r) for i, r in enumerate(record['runs'], 1))] for n, v in values.items()}

def written(tmp_path, rows, ending, by='scan'):
    write_jsonl(tmp_path/'rows.jsonl', rows)
    write_as(tmp_path/'rows.jsonl', tmp_path/f'out{ending}', by)
    return tmp_path/f'out{ending}'

def table(path):
    if path.suffix == '.csv': return list(csv.DictReader(path.open(newline='', encoding='utf-8-sig')))
    if path.suffix == '.parquet': return pq.read_table(path).to_pylist()
    head, *rows = openpyxl.load_workbook(path).active.values
    return [dict(zip(head, r)) for r in rows]

@pytest.mark.parametrize('ending', TABLES)
@pytest.mark.parametrize('texts', (FORMULAS, HOSTILE), ids=('formulas', 'hostile'))
def test_no_table_changes_a_text(tmp_path, ending, texts):
    record = record_of(endless(texts))
    scan, = table(written(tmp_path, [page(record)], ending))
    for name, text in texts_of(record).items(): assert (scan[name] or '') == text, name
    assert scan['other'] == 'Rig: 1: =2' and scan['company_confidence'] in (.5, '0.5')
    first, second = table(written(tmp_path, [page(record)], ending, 'run'))
    for n, r in ((1, first), (2, second)):
        assert int(r['run']) == n and all((r[k] or '') == v['text'] for k, v in (record['fields'] | record['runs'][n - 1]).items())

def test_xlsx_has_texts_and_numbers_and_no_formula(tmp_path):
    path = written(tmp_path, [page(finish_record(record_of(endless(FORMULAS + ["3,609'"]))))], '.xlsx')
    sheet = zipfile.ZipFile(path).read('xl/worksheets/sheet1.xml').decode()
    assert '<f>' not in sheet and 't="e"' not in sheet and 't="inlineStr"' in sheet
    record = finish_record(dict(form='', fields=dict(elev_kb=value("3,609'")), runs=[dict(rm=value('.58 @ 82 °F'))], other=[]))
    row, = table(written(tmp_path, [page(record)], '.xlsx'))
    assert (row['elev_kb'], row['elev_kb_value'], row['elev_kb_unit']) == ("3,609'", 3609, 'ft')
    assert (row['run1_rm_value'], row['run1_rm_value_2'], row['run1_rm_unit']) == (.58, 82, 'ohm.m degF')

def test_what_xml_cannot_hold_is_replaced_in_xlsx_alone(tmp_path):
    record = dict(fields=dict(well=value('A\x07\x00B')), runs=[])
    assert [table(written(tmp_path, [page(record)], end))[0]['well'] for end in ('.xlsx', '.csv', '.parquet')] == ['A\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}B', 'A\x07\x00B', 'A\x07\x00B']

def test_csv_says_that_it_is_utf8_and_quotes_texts(tmp_path):
    raw = written(tmp_path, [page(dict(fields=dict(well=value('=1', confidence=.25)), runs=[]))], '.csv').read_bytes()
    assert raw.startswith(b'\xef\xbb\xbf"file","page","link"') and b'"=1"' in raw and b',0.25,' in raw and raw.endswith(b'\r\n')

CORE = {'company', 'well', 'field', 'county', 'state', 'api'}, {'run_no', 'date', 'depth_driller', 'depth_logger'}

@pytest.mark.parametrize('ending', TABLES)
@pytest.mark.parametrize('by', ROWS)
def test_a_table_has_what_wells_are_joined_by_and_no_empty_fields(tmp_path, ending, by):
    rows = [page(), page(dict(form='', fields={}, runs=[], other=[])), page(dict(fields=None, runs=None)), dict(file='scans/b.png', page=0, error='=gone')]
    found = table(written(tmp_path, rows, ending, by))
    if by == 'line': assert [r['error'] or None for r in found] == [None]*3 + ['=gone']; return
    assert len(found) == 4 and list(found[0])[:4] == ['file', 'page', 'link', 'form'] and found[3]['error'] == '=gone' and found[3]['link'].startswith('file://')
    run = '' if by == 'run' else 'run1_'
    assert CORE[0] | {run + n for n in CORE[1]} <= found[0].keys() and not any(r['company'] for r in found)
    assert 'permanent_datum' not in found[0] and f'{run}rm_bht' not in found[0]
    some = page(dict(form='', fields=dict(permanent_datum=value('G.L.')), runs=[dict(rm_bht=value('.2 @ 150'))], other=[]))
    more = table(written(tmp_path, [*rows, some], ending, by))
    assert set(more[0]) - set(found[0]) == {n + end for n in ('permanent_datum', f'{run}rm_bht') for end in ('', '_value', '_confidence', '_flags', '_box')} | {f'{run}rm_bht_value_2', f'{run}rm_bht_unit'}
    most = table(written(tmp_path, [page(record_of(endless(['x']), 3))], ending, by))
    assert {n if f.part == 'title' else run + n for n, f in FIELDS.items()} <= most[0].keys()

def test_a_field_that_the_vocabulary_lacks_is_not_lost(tmp_path):
    record = dict(fields=dict(mud_engineer=value('Joe')), runs=[dict(sonde_no=value('7'))])
    row, = table(written(tmp_path, [page(record)], '.csv'))
    assert (row['mud_engineer'], row['run1_sonde_no']) == ('Joe', '7')
    assert '"Joe"' in to_las(record) and 'SONDE_NO_1' in to_las(record)

# --- LAS

def read_las(tmp_path, text, name='a.las'):
    (tmp_path/name).write_text(text, encoding='utf-8')
    checked = lascheck.read(str(tmp_path/name))
    assert checked.check_conformity(), checked.get_non_conformities()
    return lasio.read(str(tmp_path/name), encoding='utf-8')

def exact(las):
    found = [l.split(' = ', 1) for l in las.other.splitlines()]
    return {k: json.loads(v) for k, v in found if k != 'other'}

@pytest.mark.parametrize('texts', (FORMULAS, HOSTILE), ids=('formulas', 'hostile'))
@pytest.mark.parametrize('finish', (False, True), ids=('as read', 'normalised'))
def test_las_is_read_back_with_every_text(tmp_path, texts, finish):
    record = record_of(endless(texts))
    las = read_las(tmp_path, to_las(finish_record(record) if finish else record))
    assert exact(las) == texts_of(record)
    for section, end, values in ((las.well, '', record['fields']), *((las.params, f'_{i}', r) for i, r in enumerate(record['runs'], 1))):
        for name, v in values.items():
            if FIELDS[name].kind != 'text' or not v['text'].strip() or len(FIELDS[name].las2) != 1: continue
            if (mnemonic := FIELDS[name].las2[0]) in ('LOC', 'LUN'): continue # two fields share it
            shown, plain = str(section[mnemonic + end].value), ' '.join(v['text'].split())
            assert ' '.join(shown.strip('"').split()) in (plain.strip('"'), plain.replace(':', ';')), name

def test_las_numbers_are_values_in_their_unit(tmp_path):
    run = dict(run_no=value('01'), depth_driller=value('11,100'), casing_driller=value('9 5/8" @ 5,350'), rm=value('.58 @ 82 °F'), bit_size=value('8 1/2"'), bht=value('none'), density=value('9.3'))
    las = read_las(tmp_path, to_las(finish_record(dict(form='', fields=dict(api=value('0200112345')), runs=[run, dict(depth_driller=value('3200 m'))], other=[]))))
    found = {i.mnemonic: (i.value, i.unit) for i in las.params}
    assert found == dict(RUN_1=('"01"', ''), TDD_1=(11100, 'FT'), CSIZ_1=(9.625, 'IN'), CDD_1=(5350, 'FT'), RMS_1=(.58, 'OHMM'), MST_1=(82, 'DEGF'), BS_1=(8.5, 'IN'), MRT_1=('none', ''), DFD_1=(9.3, 'LB/GAL'), TDD_2=(3200, 'M'))
    assert las.well.API.value == '0200112345'

@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=['Cs']), max_size=12), min_size=1, max_size=8))
def test_any_text_comes_back_from_las(texts):
    record = dict(fields={n: value(t) for n, t in zip(FIELDS, texts)}, runs=[dict(run_no=value(texts[-1]), witnessed_by=value(texts[0]))], other=[])
    assert exact(lasio.read(io.StringIO(to_las(record)))) == texts_of(record)

def test_las_of_no_record_and_of_several_scans(tmp_path):
    assert read_las(tmp_path, to_las({})).well.COMP.value == ''
    record = record_of(endless(['x']))
    rows = [page(record), page(record, page=1), page(record, file='other/A.png'), page(file='c.png'), dict(file='b.png', page=0, error='gone')]
    out = written(tmp_path, rows, '.las')
    assert not out.exists() and sorted(p.name[:2] for p in (tmp_path/'out').iterdir()) == ['A-', 'a-', 'a-', 'c.']
    for p in (tmp_path/'out').iterdir(): read_las(tmp_path, p.read_text(encoding='utf-8'))
    assert written(tmp_path, [page(record)], '.las').is_file()

def test_a_folder_of_las_holds_what_the_last_run_wrote_and_nobody_elses_file_is_touched(tmp_path):
    files = lambda: sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob('*.las'))
    record, names = record_of(endless(['x'])), lambda *names: [page(record, file=f'scans/{n}') for n in names]
    written(tmp_path, names('a.png', 'b.png', 'nul.png', 'c: "d"?. .tif'), '.las')
    assert files() == ['out/_nul.las', 'out/a.las', 'out/b.las', 'out/c_ _d__. .las'] or files() == ['out/_nul.las', 'out/a.las', 'out/b.las', 'out/c_ _d___.las']
    (tmp_path/'out'/'notes.txt').write_text('mine')
    written(tmp_path, names('b.png', 'e.png'), '.las')
    assert files() == ['out/b.las', 'out/e.las'] and (tmp_path/'out'/'notes.txt').exists()
    written(tmp_path, names('b.png'), '.las')
    assert files() == ['out.las']
    written(tmp_path, names('b.png', 'e.png'), '.las')
    assert files() == ['out/b.las', 'out/e.las']
    (tmp_path/'scans').mkdir()
    (tmp_path/'scans'/'b.LAS').write_text('the log itself')
    for write in (lambda: rows_file(tmp_path/'scans.las'), lambda: write_as(tmp_path/'rows.jsonl', tmp_path/'scans.las')):
        with pytest.raises(ConfigError, match='not written from scans.las.*scans/b.LAS'): write()
    assert (tmp_path/'scans'/'b.LAS').read_text() == 'the log itself'

@pytest.mark.parametrize('ending', ('.jsonl', '.json', '.md', '.las'))
@pytest.mark.parametrize('by', ('run', 'line'))
def test_rows_of_a_table_are_refused_where_there_is_none(tmp_path, ending, by):
    with pytest.raises(ConfigError, match=f"rows='{by}' is for tables"): rows_file(tmp_path/f'x{ending}', by)

def test_las_of_the_truth_of_whole_sheets(tmp_path):
    truth = ROOT.parent/'shared'/'data'/'real_headers'/'fields'/'fields.jsonl'
    if not truth.exists(): pytest.skip('needs the truth of real headers, which is no part of the project')
    for t in map(json.loads, truth.read_text(encoding='utf-8').splitlines()):
        filled = lambda values: {k: value(v) for k, v in values.items() if v}
        record = finish_record(dict(form=t['form'], fields=filled(t['fields']), runs=[filled(r) for r in t['runs']], other=[]))
        assert exact(read_las(tmp_path, to_las(record))) == texts_of(record)

# --- the rest

@pytest.mark.parametrize('ending, package', (('.xlsx', 'openpyxl'), ('.las', 'lasio'), ('.parquet', 'pyarrow')))
def test_a_missing_package_is_named_before_anything_is_read(tmp_path, monkeypatch, ending, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SetupError, match=rf'{package} is not there.*welllog_ocr\[tables\]'): rows_file(tmp_path/f'x{ending}')

def test_refusals(tmp_path):
    write_jsonl(tmp_path/'rows.jsonl', [])
    with pytest.raises(ConfigError, match='scan, run, line'): write_as(tmp_path/'rows.jsonl', tmp_path/'x.csv', 'well')
    with pytest.raises(ConfigError, match='none of .jsonl'): rows_file(tmp_path/'x.doc')

def test_a_notebook_and_markdown_escape_what_was_read(tmp_path):
    record = record_of(endless(['<script>x</script>', 'a | b']))
    record['fields']['well'] |= dict(flags=['"><b>'])
    shown = show_wells(iter([page(record)]))._repr_html_()
    assert '<script>' not in shown and '<b>' not in shown and '&lt;script&gt;' in shown
    text = written(tmp_path, [page(record)], '.md').read_text()
    assert '<script>' not in text and 'a \\| b' in text

# --- what other tools read

FIXTURES = ROOT/'tests'/'fixtures'
FILES = ['a "b".tif', "c'd;e.tif", '<script>alert(1)</script>.tif', '../../../etc/passwd', 'two\nlines.tif', '\x1b[31m.tif', 'CON.tif', 'x'*240 + '.tif', 'ß'*200 + '.png', '\u202egnp.tif', 'a&amp;b.tif', 'bbox 1 2 3 4; image "x".tif', '%2e%2e%2f.tif', ' .tif', 's3://bucket/a"<b>.tif']
OTHERS = ['.hocr', '.alto.xml', '.page.xml', '.docile.json', '.osdu.json', '.jwlf.json']

def hostile_page(file='scans/a.tif', **more):
    "Each text is a line, and the value of a field or of a run"
    lines = [dict(text=t, confidence=n/100, row=n, box=[[10, 20*n], [390, 20*n], [390, 20*n + 18], [10, 20*n + 18]]) for n, t in enumerate(NASTY)]
    record = record_of(endless(NASTY)) | dict(other=[dict(label=t, value=value(t)) for t in NASTY])
    record['fields'] |= {f'<{t[:9]}>': value(t, lines=[n]) for n, t in enumerate(NASTY)}
    return page(record, file, lines=lines, size=[400, 1300], region=[0, 1300], turns=0, skew=0.) | more

def valid(path):
    "Its tree, when it is what its schema asks for"
    etree = pytest.importorskip('lxml.etree', reason='needs lxml, which the extra pdf brings')
    tree = etree.parse(path, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False))
    for end, name in (('.alto.xml', 'alto-4.4-part.xsd'), ('.page.xml', 'page-2019-07-15.xsd')):
        if path.name.endswith(end): etree.XMLSchema(etree.parse(FIXTURES/name)).assertValid(tree)
    return tree.getroot()

def clean(text): return ''.join(c if c in '\t\n' or c >= ' ' and not '\ud800' <= c <= '\udfff' and c not in '\ufffe\uffff' else '\N{REPLACEMENT CHARACTER}' for c in text)

def test_markup_of_hostile_texts_is_valid_and_says_them_exactly(tmp_path):
    said, tags = [' '.join(clean(t).split()) for t in NASTY], {}
    for end in OTHERS[:3]:
        root = valid(written(tmp_path, [hostile_page()], end))
        tags[end] = {e.tag.rpartition('}')[2] for e in root.iter()}
        of = lambda e, name: [x for x in e.iter() if isinstance(x.tag, str) and x.tag.rpartition('}')[2] == name]
        if end == '.hocr': found = [[w.text for w in of(l, 'span') if w.get('class') == 'ocrx_word'] for l in of(root, 'span') if l.get('class') == 'ocr_line']
        elif end == '.alto.xml': found = [[w.get('CONTENT') for w in of(l, 'String')] for l in of(root, 'TextLine')]
        else: found = [[w.text or '' for w in of(l, 'Unicode')[-1:]] for l in of(root, 'TextLine')]
        assert [' '.join(' '.join(words).split()) for words in found] == said, end
    assert tags['.hocr'] == {'html', 'head', 'meta', 'title', 'body', 'div', 'p', 'span'}

def test_json_of_hostile_texts_says_them_exactly(tmp_path):
    found = {end: json.loads(written(tmp_path, [hostile_page(), dict(file='b.tif', page=0, error='gone')], end).read_bytes()) for end in OTHERS[3:]}
    values = hostile_page()['record']
    every = {v['text'] for v in [*values['fields'].values(), *(v for r in values['runs'] for v in r.values())]}
    (fields,), (record,), logs = (f if n else f.values() for n, f in enumerate(found.values()))
    assert {f['text'] for f in fields} == {v['text'] for v in record['data']['ExtensionProperties']['welllog_ocr']['Values']} == {v['text'] for l in logs for v in l['header']['values']} == every
    assert all(0 <= x <= 1 for f in fields for x in f['bbox']) and {f.get('line_item_id') for f in fields} == {None, 1, 2}
    assert [l['header'].get('runNumber') for l in logs] == [v for v in (r['run_no']['text'] for r in values['runs'])] and all(l['data'] == [] and l['curves'] for l in logs)
    assert record['kind'] == 'osdu:wks:master-data--WellLogAcquisition:1.0.0' and len(record['data']['LogRuns']) == 2

@pytest.mark.parametrize('end', [e for e in list(WRITERS)[1:] if e != '.labelstudio.json']) # which asks for the scans themselves
def test_hostile_names_of_scans_stay_names(tmp_path, end):
    home = tmp_path/'home'/'deep'
    home.mkdir(parents=True)
    rows = [hostile_page(f, page=n % 2) for n, f in enumerate(FILES)]
    out = written(home, rows, end)
    if end not in ('.las', *OTHERS[:3]): assert out.is_file(); (json.loads(out.read_bytes()) if end.endswith('json') else None); made = []
    else: made = sorted((home/'out').iterdir()); assert len(made) == len(FILES) and all(p.is_file() for p in made)
    if end in OTHERS[:3]:
        for p in made: valid(p)
    assert {p.name for p in home.iterdir()} <= {'rows.jsonl', f'out{end}', 'out', f'.out{end}.json'} and [p.name for p in tmp_path.iterdir()] == ['home']

def test_a_page_on_its_side_blank_pages_and_what_has_no_place(tmp_path):
    side = dict(text='SHELL OIL', confidence=.9, row=0, box=[[30, 400], [30, 200], [50, 200], [50, 400]]) # runs upwards
    rows = [page(lines=[side], size=[400, 500], region=[0, 500], turns=3), page(page=1, lines=[], size=[1, 1]), page(page=2, lines=[dict(text='a b', confidence=None, row=0, box=[])], size=[400, 66000], region=[100, 900]), page(page=3)]
    for end in OTHERS[:3]:
        written(tmp_path, rows, end)
        first, blank, whole, _ = (valid(p) for p in sorted((tmp_path/'out').glob(f'*{end}'), key=lambda p: p.name.replace('a.', 'a-1.')))
        text = (tmp_path/'out'/f'a{end}').read_text()
        assert {'.hocr': 'bbox 30 200 50 400; x_wconf 90; textangle 90', '.alto.xml': 'POINTS="30,400 30,289 50,289 50,400"', '.page.xml': 'points="30,400 30,200 50,200 50,400"'}[end] in text
        assert {'.hocr': 'bbox 0 100 400 900', '.alto.xml': 'HPOS="0" VPOS="100" WIDTH="400" HEIGHT="800"', '.page.xml': '0,100 400,100 400,900 0,900'}[end] in (tmp_path/'out'/f'a-3{end}').read_text()

def test_an_installed_package_brings_a_format(tmp_path, monkeypatch):
    (tmp_path/'mine-1.0.dist-info').mkdir()
    (tmp_path/'mine-1.0.dist-info'/'entry_points.txt').write_text('[welllog_ocr.writers]\nshout = mine:shout\npage.txt = mine:EACH\nlost = mine:lost\njson = mine:shout\n')
    (tmp_path/'mine-1.0.dist-info'/'METADATA').write_text('Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n')
    (tmp_path/'mine.py').write_text("from welllog_ocr.read.export import Each\ndef shout(rows): return (r['text'].upper() for r in rows)\nEACH = Each(lambda row: row['text'])\n")
    monkeypatch.syspath_prepend(tmp_path)
    rows = [page(text='kermit'), page(text='wink', page=1)]
    assert written(tmp_path, rows, '.shout').read_text() == 'KERMITWINK' and json.loads(written(tmp_path, rows, '.json').read_text()) == rows # ours stays ours
    written(tmp_path, rows, '.page.txt')
    assert [p.read_text() for p in sorted((tmp_path/'out').glob('*.page.txt'))] == ['wink', 'kermit']
    with pytest.raises(SetupError, match='lost is written by mine:lost, which cannot be loaded'): rows_file(tmp_path/'x.lost')
    with pytest.raises(ConfigError, match=r'\.shout'): rows_file(tmp_path/'x.doc')

@pytest.mark.parametrize('end', ['.alto.xml', '.page.xml', '.labelstudio.json'])
def test_what_is_written_is_read_back_as_labels(tmp_path, end):
    from PIL import Image
    from welllog_ocr.data.label_studio import label_studio_rows
    from welllog_ocr.data.other_tools import xml_rows
    Image.new('L', (400, 500), 255).save(tmp_path/'sheet.png')
    lines = [dict(text=t, confidence=.9, row=n, box=b) for n, (t, b) in enumerate([('SHELL & <OIL> CO.', [[20, 30], [300, 34], [299, 60], [19, 56]]), ('½ " UP', [[30, 400], [30, 200], [50, 200], [50, 400]])])]
    out = written(tmp_path, [page(dict(fields=dict(company=value('SHELL & <OIL> CO.', lines=[0], box=lines[0]['box'])), runs=[], other=[]), 'sheet.png', lines=lines, size=[400, 500], region=[0, 500])], end)
    if end == '.labelstudio.json': # a person has submitted what was predicted
        task, = json.loads(out.read_text())
        out.write_text(json.dumps([task | dict(id=1, annotations=[dict(id=2, result=task['predictions'][0]['result'])])]))
        *_, line, record = label_studio_rows(out, tmp_path)
        assert (line['text'], line['file_name'], record['fields']) == (lines[1]['text'], 'out/sheet.png', dict(company=lines[0]['text']))
        return
    rows = xml_rows(out, tmp_path)
    assert [r['text'] for r in rows] == [l['text'] for l in lines] and {r['file_name'] for r in rows} == {'sheet.png'}
    assert [[list(map(round, p)) for p in r['cut']['outline']] for r in rows] == [l['box'] for l in lines]
