"""Tables of every format and of no format: samples, skips with a reason, or one clear error; and no path leads out of the folder."""
import base64, csv, io, json, os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from welllog_ocr.core import DataError
from welllog_ocr.files import write_jsonl
from welllog_ocr.data.labels import label_key
from welllog_ocr.data.load import file_of, load_data, load_eval, load_split, locate
from welllog_ocr.data.sample import notes_text, of_kind

SETTINGS = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))

def png(size=(40, 16))->bytes:
    f = io.BytesIO()
    Image.new('L', size, 255).save(f, 'PNG')
    return f.getvalue()

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "Three images, and files that must not be reached beside the folder"
    root = tmp_path_factory.mktemp('data')
    (root/'set/more').mkdir(parents=True)
    for name in ('0.png', '1.png', 'more/2.png', 'ü ½.png'): (root/'set'/name).write_bytes(png())
    (root/'secret.png').write_bytes(png())
    (root/'settwo').mkdir()
    (root/'settwo/secret.png').write_bytes(png()) # begins with the folder's own name
    (root/'set/link.png').symlink_to(root/'secret.png')
    (root/'set/out').symlink_to(root)
    (root/'set/loop').symlink_to('loop')
    (root/'set/inner.png').symlink_to('0.png')
    return root/'set'

# --- tables

values = st.one_of(st.none(), st.text(max_size=20), st.integers(), st.floats(), st.booleans(), st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2))
names  = st.sampled_from(['0.png', '1.png', 'more/2.png', 'ü ½.png', 'gone.png', 'more', '', '../secret.png'])
rows   = st.fixed_dictionaries({}, optional=dict(file_name=st.one_of(names, values), text=st.one_of(st.sampled_from(['FIELD WILDCAT', '012', ' ', '½']), values), id=values, group=values, kind=values, style=values,
                                                 page=values, region=values, image_base64=st.one_of(st.just(base64.b64encode(png()).decode()), values), note=values))

def check(folder, n:int):
    "Either `DataError`, or all rows are accounted for"
    try: samples, skips = load_split(folder)
    except DataError as e:
        assert str(e).strip()
        return
    assert len(samples) + len(skips) == n
    assert all(s.why for s in skips)
    for s in samples:
        assert isinstance(s.text, str) and s.text.strip() and s.image.size == s.size
        assert all(isinstance(v, str) for v in (s.id, s.group, s.kind, s.style))
        json.dumps(s.text).encode(), s.text.encode()

@SETTINGS
@given(st.lists(rows, max_size=5))
def test_any_jsonl_is_read_or_refused(folder, table):
    path = folder/'metadata.jsonl'
    path.write_text(''.join(json.dumps(r) + '\n' for r in table), encoding='utf-8')
    try: check(folder, len(table))
    finally: path.unlink()

@SETTINGS
@given(st.lists(st.lists(st.text(max_size=8), min_size=1, max_size=4), max_size=4), st.sampled_from(['file_name,text', 'file_name;text', 'text\tfile_name\tid', 'file_name,text,text', 'name,words', '']), st.sampled_from(['\n', '\r\n', '\r']), st.booleans())
def test_any_csv_is_read_or_refused(folder, table, head, end, bom):
    f = io.StringIO()
    csv.writer(f, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([['0.png', *r] for r in table])
    path = folder/'metadata.csv'
    path.write_bytes((b'\xef\xbb\xbf' if bom else b'') + (head + end + f.getvalue()).encode('utf-8', 'surrogatepass'))
    try: check(folder, len(table))
    finally: path.unlink()

@SETTINGS
@given(st.binary(max_size=300), st.sampled_from(['metadata.jsonl', 'metadata.csv', 'metadata.parquet', 'lines.jsonl']))
def test_rubbish_is_refused(folder, data, name):
    (folder/name).write_bytes(data)
    try:
        try: load_split(folder)
        except DataError as e: assert name in str(e) or str(folder) in str(e)
    finally: (folder/name).unlink()

@pytest.fixture
def written(folder):
    "Writes a table of the folder, and takes it away again"
    made = []
    def write(name, text):
        made.append(folder/name)
        made[-1].write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder
    yield write
    for path in made: path.unlink()

@pytest.mark.parametrize('typed,meant', [('txt', 'text'), ('file_nam', 'file_name'), ('anwser', 'answer')])
def test_a_mistyped_column_is_named(written, typed, meant):
    other = dict(text='FIELD') if 'f' == typed[0] else dict(file_name='0.png')
    with pytest.raises(DataError, match=f"rename '{typed}' to '{meant}'"): load_split(written('metadata.jsonl', json.dumps(other | {typed: 'x'})))

@pytest.mark.parametrize('head', ['filename,words', 'File Name;TEXT', ' image_path , transcription ', 'Image,Label', 'file-name\tGround Truth', 'file_name,text,,,', ',file_name,text', 'sep=;\nfile;Answer', '\n\nimg,gt'])
def test_a_column_that_can_mean_one_thing_is_taken(written, head):
    mark = max(',;\t', key=head.count)
    row = ['7']*(head[0] == ',') + ['0.png', 'CSG 9 5/8" @ 1203'] + ['']*(3*head.endswith(',,,'))
    (s,), skips = load_split(written('metadata.csv', f'{head}\n{mark.join(row)}\n{mark*(len(row) - 1)}\n'))
    assert (s.text, skips) == ('CSG 9 5/8" @ 1203', [])

@pytest.mark.parametrize('head,why', [('words,label,file_name', "'words' and 'label' may both be meant as 'text'; rename"), ('file,path,text', "'file' and 'path' may both"), ('a,b', "no column 'file_name'")])
def test_a_column_in_doubt_is_asked_for(written, head, why):
    with pytest.raises(DataError, match=why): load_split(written('metadata.csv', f'{head}\nx,y,z\n'))

@pytest.mark.parametrize('body,line', [('0.png,"7 IN,w3\n1.png,GL 900",w2\n', 2), ('0.png,KB 9,w\n1.png,"7 IN,w3\n', 3), ('0.png,"7" IN,w3\n', 2), ('0.png,KB 9,w\n\n1.png,w,"7 IN\r\n0.png,a,b"\n', 4)])
@pytest.mark.parametrize('mark', ',;\t')
def test_a_stray_inch_sign_is_refused_with_its_line(written, body, line, mark):
    with pytest.raises(DataError, match=rf'metadata.csv, line {line}: .*9 5/8""'): load_split(written('metadata.csv', f'file_name,text,group\n{body}'.replace(',', mark)))

@pytest.mark.parametrize('encoding,why', [('utf-16', 'UTF-16'), ('utf-16-le', 'UTF-16'), ('cp1252', 'not UTF-8'), ('latin-1', 'not UTF-8'), ('shift_jis', 'not UTF-8'), ('utf-32', 'UTF-16')])
def test_a_wrong_encoding_is_an_error_and_not_another_text(folder, encoding, why):
    text = 'REMARKS 80 °F' if encoding != 'shift_jis' else 'REMARKS 泥水'
    (folder/'metadata.jsonl').write_bytes((json.dumps(dict(file_name='0.png', text=text), ensure_ascii=False) + '\n').encode(encoding))
    try:
        with pytest.raises(DataError, match=why): load_split(folder)
    finally: (folder/'metadata.jsonl').unlink()

@pytest.mark.parametrize('end', ['\n', '\r\n'])
@pytest.mark.parametrize('bom', [b'', b'\xef\xbb\xbf'])
def test_line_ends_and_a_mark_at_the_start_change_nothing(folder, end, bom):
    lines = [json.dumps(dict(file_name=f'{i}.png', text='SIZE 8 5/8 \u2028 12½')) for i in range(2)]
    (folder/'metadata.jsonl').write_bytes(bom + end.join(lines).encode()) # no newline at the end: the last row counts too
    try: assert [s.text for s in load_split(folder)[0]] == ['SIZE 8 5/8 \u2028 12½']*2
    finally: (folder/'metadata.jsonl').unlink()

def test_a_last_line_that_broke_off_is_no_row_less(folder):
    (folder/'metadata.jsonl').write_text('{"file_name": "0.png", "text": "a"}\n{"file_name": "1.png", "te')
    try:
        with pytest.raises(DataError, match='line 2'): load_split(folder)
    finally: (folder/'metadata.jsonl').unlink()

def test_unknown_columns_are_kept(folder):
    write_jsonl(folder/'metadata.jsonl', [dict(file_name='0.png', text='a', source='archive', verified=True, note=None)])
    try: assert load_split(folder)[0][0].info == dict(source='archive', verified=True, note=None)
    finally: (folder/'metadata.jsonl').unlink()

def test_the_same_rows_in_every_format_are_the_same_samples(tmp_path):
    import pyarrow as pa, pyarrow.parquet as pq
    from datasets import Dataset
    found, table = {}, [dict(file_name=f'{i}.png', text=t, group=f'well {i}') for i, t in enumerate(('012', '2014-09-30', 'TD 13,121', '8 ½ "in"'))]
    for kind in ('jsonl', 'csv', 'parquet', 'saved'):
        d = tmp_path/kind
        d.mkdir()
        if kind == 'jsonl': write_jsonl(d/'lines.jsonl', table)
        if kind == 'parquet': pq.write_table(pa.Table.from_pylist(table), d/'lines.parquet')
        if kind == 'saved': Dataset.from_list(table).save_to_disk(str(d))
        if kind == 'csv':
            with open(d/'lines.csv', 'w', newline='') as f:
                w = csv.DictWriter(f, table[0])
                w.writeheader(), w.writerows(table)
        for r in table: (d/r['file_name']).write_bytes(png())
        found[kind] = [(s.id, s.text, s.digest) for s in load_split(d)[0]]
    assert len({json.dumps(f) for f in found.values()}) == 1, found

# --- kinds, groups and labels

@pytest.mark.parametrize('form', ['parquet', 'picture', 'saved', 'base64', 'path', 'file'])
def test_the_shape_says_what_a_row_is_when_no_column_does(tmp_path, form):
    import pyarrow as pa, pyarrow.parquet as pq
    from datasets import Dataset
    texts, images = ['KB 912', '7', 'A SHEET', 'TWO\nLINES'], [png((300, 40)), png((60, 48)), png((640, 420)), png((300, 90))]
    inside = [dict(image=dict(bytes=b, path=f'{i}.png'), text=t) for i, (b, t) in enumerate(zip(images, texts))]
    if form == 'parquet': pq.write_table(pa.Table.from_pylist(inside), tmp_path/'train.parquet')
    if form == 'picture': pq.write_table(pa.Table.from_pylist([dict(page_picture=r['image']['bytes'], Words=r['text']) for r in inside]), tmp_path/'train.parquet')
    if form == 'saved': Dataset.from_list(inside).save_to_disk(str(tmp_path/'train'))
    if form == 'base64': write_jsonl(tmp_path/'train.jsonl', [dict(image_base64=base64.b64encode(b).decode(), answer=t) for b, t in zip(images, texts)])
    if form in ('path', 'file'):
        for i, b in enumerate(images): (tmp_path/f'{i}.png').write_bytes(b)
        write_jsonl(tmp_path/'train.jsonl', [{'image' if form == 'path' else 'file_name': f'{i}.png'} | dict(text=t) for i, t in enumerate(texts)])
    where, tables = locate(tmp_path)[0]['train']
    samples, skips = load_split(where, tables=tables)
    assert [s.image.size for s in samples] == [s.size for s in samples]
    if form == 'file': 
        assert [s.kind for s in samples] == ['line', 'line', 'line', 'page'] # a file is a line, as ever, unless its text has several
        return
    assert ([s.kind for s in samples], skips) == (['line', 'line', 'page', 'page'], [])
    assert notes_text(samples) == '4 rows name no kind, so the shape of their picture says it: 2 line, 2 page; a column `kind` settles it'
    assert 'by its shape, and the model reads line; a column kind' in of_kind(samples, ('line',))[1][0].why

def splits(root, train:list, held:list):
    for name, table in (('train', train), ('eval', held)):
        (root/name).mkdir()
        for i, r in enumerate(table): (root/name/f'{i}.png').write_bytes(png((40 + i, 16)))
        (root/name/'metadata.jsonl').write_text('\n'.join(json.dumps(dict(file_name=f'{i}.png', text='KB 912') | r) for i, r in enumerate(table)))
    return load_data(root)

@pytest.mark.parametrize('ours,theirs,leak', [(4712345.0, '4712345', ['4712345']), ('4712345.0', 4712345, ['4712345']), ('4.712345E+06', '4712345', ['4712345']), ('4712345', ' 4712345.00 ', ['4712345']),
    (None, None, []), (float('nan'), float('nan'), []), ('Mu\u0308hle', 'M\u00fchle', ['M\u00fchle']), ('47.1', '47', []), ('Jones 1.0', 'Jones 1', [])])
def test_a_leak_is_a_group_of_both_whatever_the_table_made_of_its_number(tmp_path, ours, theirs, leak):
    assert splits(tmp_path, [dict(group=ours)]*2, [dict(group=theirs)]*2).leaks == leak

def test_a_kind_in_capitals_is_that_kind(tmp_path):
    data = splits(tmp_path, [dict(kind='Line', style=' TYPED')], [dict(kind='PAGE')])
    assert [(s.kind, s.style) for s in data.train + data.eval] == [('line', 'typed'), ('page', '')]

def test_a_well_that_is_the_id_of_its_row_is_a_group(tmp_path):
    assert splits(tmp_path, [dict(group='7', id='7'), {}], [dict(group=7, id=7)]).leaks == ['7']

def test_a_list_of_wells_keeps_numbers_that_a_table_made_of_them(tmp_path):
    from welllog_ocr.data.well_table import read_well_table, rows_of_scan
    from welllog_ocr.read.wells import read_list
    (tmp_path/'wells.jsonl').write_text('{"api": 42123456780000.0, "well": "MU\u0308LLER 1", "file": "scans\\\\Mu\u0308ller.tif"}')
    assert read_list(tmp_path/'wells.jsonl').rows[0]['api'] == '42123456780000'
    table = read_well_table(tmp_path/'wells.jsonl')
    assert [r.key for r in rows_of_scan(table, tmp_path/'M\u00fcller.tif')] == ['4212345678']

def test_wells_without_a_name_keep_no_lines_apart(tmp_path):
    from welllog_ocr.run.samples import _apart
    data = splits(tmp_path, [{}, {}], [dict(scan=7.0)])
    assert _apart(data.train, data.eval) == [False, True] # the first is the same picture

@pytest.mark.parametrize('raw,text', [('KB 912\n', 'KB 912'), (' KB\u00a0912\t', 'KB 912'), ('KB\u202f912 \r\n', 'KB 912'), ('\ufeffKB 912', 'KB 912'), ('Mu\u0308ller', 'M\u00fcller'), ('14 \u2126m', '14 \u03a9m'), ('3 \u03bcS', '3 \u00b5S'), ('A\u030angstrom \u212b', '\u00c5ngstrom \u00c5')])
def test_what_cannot_be_seen_in_a_label_is_tidied_and_told_once(tmp_path, raw, text):
    data = splits(tmp_path, [dict(text=raw), {}, {}], [{}])
    assert data.train[0].text == text and notes_text(data.train + data.eval).startswith('1 labels were tidied (0.png)')
    assert label_key(raw) == label_key(text.lower())

@pytest.mark.parametrize('names', [['a.png', 'b.png'], ['a.bin.png', 'b.nrm.png'], ['a.tif', 'b.JPG'], ['box 7/a.png', 'box 7/b.png']])
def test_pairs_of_image_and_text_are_a_data_set(tmp_path, names):
    for name in [*names, 'c.png']:
        stem = tmp_path/name.replace('.bin', '').replace('.nrm', '')
        stem.parent.mkdir(exist_ok=True)
        stem.with_suffix('.gt.txt').write_bytes(b'\xef\xbb\xbfKB 9 5/8" \xc2\xbd\r\n')
        if name != 'c.png': (tmp_path/name).write_bytes(png())
    samples, skips = load_split(tmp_path)
    assert [(s.id, s.text) for s in samples] == [(n, 'KB 9 5/8" \u00bd') for n in names]
    assert [s.where for s in skips] == [f'{tmp_path.name}/c.png'] and 'no such file' in skips[0].why
    (tmp_path/'c.gt.txt').write_bytes(b'9\xbd')
    with pytest.raises(DataError, match='c.gt.txt, line 1: byte 0xbd'): load_split(tmp_path)

# --- names

@pytest.mark.parametrize('name,found', [('M\u00fchle 1.png', 'Mu\u0308hle 1.png'), ('more\\2.PNG', 'more/2.png'), ('.\\More\\2.png', 'more/2.png'), (' 0.png', '0.png'), ('HERE/0.png', '0.png'), ('HERE/more/2.png', 'more/2.png'), ('m\u00fcller.png', b'M\xfcller.png'),
    ('twin.png', "did you mean Twin.PNG or TWIN.png"), ('0.jpg', 'did you mean 0.png'), ('train/0.png', 'did you mean 0.png'), ('C:\\data\\0.png', 'did you mean 0.png?'), ('/home/me/0.png', 'points outside the data folder; did you mean 0.png, which is inside?'), ('9.png', 'add the image')])
def test_a_name_that_can_mean_one_file_is_found(tmp_path, name, found):
    (tmp_path/'more').mkdir()
    for n in ('Mu\u0308hle 1.png', 'more/2.png', '0.png', 'Twin.PNG', 'TWIN.png'): (tmp_path/n).write_bytes(png())
    with open(os.path.join(os.fsencode(tmp_path), b'M\xfcller.png'), 'wb') as f: f.write(png())
    write_jsonl(tmp_path/'metadata.jsonl', [dict(file_name=name.replace('HERE', str(tmp_path)), text='x'), dict(file_name='TWIN.png', text='x')])
    samples, skips = load_split(tmp_path)
    if skips: assert found in skips[0].why.replace('TWIN.png or Twin.PNG', 'Twin.PNG or TWIN.png')
    else: assert (file_of(samples[0]) == tmp_path/os.fsdecode(found), samples[0].image.size) == (True, (40, 16))

# --- paths

PAYLOADS = ['../secret.png', '../../secret.png', 'more/../../secret.png', './../secret.png', 'out/secret.png', 'link.png', '../settwo/secret.png', '/etc/passwd', '/dev/stdin', '/dev/zero', '//etc/passwd', 'file:///etc/passwd', 'file:/etc/passwd',
            'http://127.0.0.1/a.png', 'https://x/a.png', 'ftp://x/a.png', 's3://b/a.png', 'hf://datasets/a/b.png', 'data:image/png;base64,AAAA', '\\\\host\\share\\a.png', 'C:\\a.png', '..\\secret.png', '%2e%2e/secret.png', '~/a.png', '~root/.ssh/id_rsa', '$HOME/a.png',
            'loop', 'loop/a.png', '.', '..', '/', '', ' ', 'a\0.png', '../secret.png\0.png', 'a'*300, 'a/'*3000 + 'b', '\ud800.png', '0.png/../../secret.png', '\n', '|id', '`id`', '-rf', 'more']

@pytest.mark.parametrize('name', PAYLOADS, ids=lambda n: ascii(n)[:30])
@pytest.mark.parametrize('column', ['file_name', 'image'])
def test_nothing_outside_is_read(folder, name, column):
    (folder/'metadata.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in [dict(file_name='0.png', text='good'), {column: name, 'text': 'bad'}]))
    try: samples, skips = load_split(folder)
    finally: (folder/'metadata.jsonl').unlink()
    assert [s.text for s in samples] == ['good'] and len(skips) == 1, f'{name} was read'

def test_a_link_that_stays_inside_is_fine(folder):
    write_jsonl(folder/'metadata.jsonl', [dict(file_name='inner.png', text='a')])
    try: assert len(load_split(folder)[0]) == 1
    finally: (folder/'metadata.jsonl').unlink()

@SETTINGS
@given(st.lists(st.sampled_from(['..', '.', 'more', 'out', 'loop', '0.png', 'secret.png', 'settwo', '', '/', '~', 'set', 'link.png']), min_size=1, max_size=6))
def test_no_way_through_the_folders_leads_out(folder, parts):
    from welllog_ocr.data.load import _inside
    try: path = _inside(folder.resolve(), '/'.join(parts))
    except DataError: return
    assert os.path.realpath(path).startswith(str(folder.resolve())) and os.path.commonpath([os.path.realpath(path), folder.resolve()]) == str(folder.resolve())

def test_a_saved_data_set_cannot_point_outside_either(tmp_path):
    from datasets import Dataset
    (tmp_path/'secret.png').write_bytes(png())
    Dataset.from_list([dict(image=dict(bytes=None, path=str(tmp_path/'secret.png')), text='x'), dict(image=dict(bytes=png(), path='/etc/passwd'), text='good')]).save_to_disk(str(tmp_path/'set'))
    samples, skips = load_split(tmp_path/'set')
    assert [s.text for s in samples] == ['good'] and 'points outside' in skips[0].why

def test_a_pickle_is_no_table(tmp_path):
    (tmp_path/'metadata.pkl').write_bytes(b'\x80\x04.')
    with pytest.raises(DataError, match='no metadata.jsonl'): load_data(tmp_path)

# --- splits

@pytest.mark.parametrize('held', ['eval', 'validation', 'valid', 'val', 'dev', 'test'])
@pytest.mark.parametrize('layout', ['folders', 'tables', 'shards'])
def test_a_split_that_is_held_out_has_many_names(tmp_path, held, layout):
    for split, n in (('train', 3), (held, 2)):
        table = [dict(file_name=f'{split}{i}.png', text='x', group=split) for i in range(n)]
        if layout == 'folders':
            where = tmp_path/split
            where.mkdir()
            write_jsonl(where/'anything.jsonl', table)
        else:
            where = tmp_path
            for k in range(2 if layout == 'shards' else 1):
                part = table[k::2] if layout == 'shards' else table
                write_jsonl(where/(f'{split}-0000{k}-of-00002.jsonl' if layout == 'shards' else f'{split}.jsonl'), part)
        for r in table: (where/r['file_name']).write_bytes(png())
    data = load_data(tmp_path)
    assert (len(data.train), len(data.eval), data.leaks, data.skips) == (3, 2, [], [])
    assert [s.id for s in load_eval(tmp_path)[0]] == [s.id for s in data.eval]

def test_real_lines_keep_their_fingerprints(real_lines):
    "Digests of plain images and labels do not change from one version to the next: runs are resumed by them"
    from welllog_ocr.core import stable_hash
    from welllog_ocr.files import sha256_file
    for split in ('train', 'eval'):
        for s in load_split(real_lines/split)[0]:
            row = dict(id=s.id, group=s.group, kind=s.kind, made=s.style) # `style` was called `made` in 0.1.0
            assert s.digest == stable_hash([sha256_file(real_lines/split/s.id), s.text, row])

def test_pairs_in_linked_folders_and_names_that_are_not_utf8(tmp_path):
    "A linked folder inside the data is read, one that leads out is told, a loop ends"
    data = tmp_path/'data'
    for folder in (data/'box', tmp_path/'far'): folder.mkdir(parents=True)
    for n, stem in enumerate((data/'box'/os.fsdecode(b'M\xfchle'), tmp_path/'far'/'b')):
        Image.new('L', (300, 40), 200).save(f'{stem}.png')
        Path(f'{stem}.gt.txt').write_text(f'KB {n}\n')
    (data/'box'/'loop').symlink_to(data), (data/'out').symlink_to(tmp_path/'far'), (data/'same').symlink_to(data/'box')
    samples, skips = load_split(data)
    assert [s.text for s in samples] == ['KB 0'] and len(skips) == 1 and 'link' in skips[0].why
