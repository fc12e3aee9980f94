"""The catalog as a user meets it: what must not be overwritten, lists, pages in a browser, pictures of other folders."""
import asyncio, random, shutil, signal, sqlite3, time
from contextlib import closing

import pytest
from PIL import Image
from conftest import share
from runs import in_child
from test_commands import error

from welllog_ocr.catalog import build_catalog, search
from welllog_ocr.files import read_jsonl, write_jsonl
from welllog_ocr.read.index import open_catalog

EVIL = '<script>alert(1)</script>'

def _row(file, well='SMITH 1', **more):
    box = [[5, 5], [90, 5], [90, 25], [5, 25]]
    value = lambda t: dict(text=t, value=None, unit='', confidence=.9, box=box, lines=[0], flags=[], how='cell')
    fields = {k: value(v) for k, v in dict(well=well, county='WARD', state='TEXAS', **more).items()}
    return dict(file=str(file), page=0, sha256='', region=[0, 30], turns=0, text=f'WELL {well}', confidence=.9,
                lines=[dict(text=f'WELL {well}', confidence=.9, row=0, box=box)], record=dict(form='', fields=fields, runs=[], other=[]))

@pytest.fixture
def place(tmp_path):
    (tmp_path/'scans').mkdir()
    for name in ('scans/a.png', 'secret.png'): Image.new('L', (100, 30), 200).save(tmp_path/name)
    write_jsonl(tmp_path/'found.jsonl', [_row(tmp_path/'scans/a.png'), _row(tmp_path/'secret.png', f'JONES {EVIL} 2'), dict(file='b.tif', page=0, error=EVIL)])
    return tmp_path

def test_bad_input_is_one_message_and_overwrites_nothing(place):
    cmd = 'welllog_ocr.catalog'
    (place/'mine.txt').write_text('my notes')
    assert 'no catalog' in error(2, cmd, place/'found.jsonl', '--output', place/'mine.txt')
    assert (place/'mine.txt').read_text() == 'my notes'
    (place/'list.csv').write_text('COLOUR,OPERATOR\nred,HUMBLE\n')
    said = error(3, cmd, place/'found.jsonl', '--output', place/'w.db', '--wells', place/'list.csv')
    assert 'COLOUR' in said and 'OPERATOR as company' in said and not (place/'w.db').exists()

def test_a_catalog_that_is_locked_or_of_another_version_stays(place):
    build_catalog([place/'found.jsonl'], place/'w.db')
    before = (place/'w.db').read_bytes()
    with closing(sqlite3.connect(place/'w.db')) as other:
        other.execute('BEGIN IMMEDIATE')
        for add in (True, False):
            with pytest.raises(Exception, match='open elsewhere'): build_catalog([place/'found.jsonl'], place/'w.db', add)
        other.rollback()
        assert (place/'w.db').read_bytes() == before
        other.execute('PRAGMA user_version=99')
    with pytest.raises(Exception, match='of version 99'): build_catalog([place/'found.jsonl'], place/'w.db')

def test_a_run_that_is_killed_leaves_the_old_catalog(place):
    build_catalog([place/'found.jsonl'], place/'w.db')
    with closing(sqlite3.connect(place/'w.db', isolation_level=None)) as other:
        other.executescript('PRAGMA cache_size=2; BEGIN; DELETE FROM pages; DELETE FROM lines;' + "INSERT INTO folders VALUES (hex(randomblob(2000)));"*200)
        for end in ('', '-journal'): shutil.copy(place/f'w.db{end}', place/f'killed.db{end}') # as a kill at this moment leaves them
        other.rollback()
    assert search(place/'killed.db', 'smith', pictures=False) == search(place/'w.db', 'smith', pictures=False) and not (place/'killed.db-journal').exists()

def built(place, add=False):
    build_catalog([place/'more.jsonl' if add else place/'found.jsonl'], place/'w.db', add)

def pages(place):
    with closing(open_catalog(place/'w.db')) as db:
        assert db.execute('PRAGMA integrity_check').fetchone() == ('ok',)
        return db.execute('SELECT count(*) FROM pages').fetchone()[0]

@share(4, 120)
def test_killed_while_it_is_built(place, n, reliability):
    "A first catalog, one in place of another, pages added to one: what was there before is there, or all of the new one; the next build has all, and nothing is left"
    rng, size = random.Random(0), 60 if n < 10 else 300
    for name, k in (('found', 0), ('more', size)):
        write_jsonl(place/f'{name}.jsonl', [_row(place/f'scans/{i}.tif', f'SMITH {i % 50}', field=f'FIELD {i}') for i in range(k, k + size)])
    built(place)
    start, killed = time.monotonic(), 0
    built(place, True)
    whole = time.monotonic() - start
    while killed < n:
        (place/'w.db').unlink()
        if kind := rng.choice(['', 'again', 'add']): built(place)
        status = in_child(lambda: built(place, kind == 'add'), rng.uniform(0, 1.2*whole))
        assert status in (0, -signal.SIGKILL)
        killed += status != 0
        if kind or (place/'w.db').exists(): assert pages(place) in (size, 2*size if kind == 'add' else size)
        built(place, kind == 'add')
        assert pages(place) == (2*size if kind == 'add' else size) and search(place/'w.db', 'smith', pictures=False)
        assert {p.name for p in place.iterdir()} == {'scans', 'secret.png', 'found.jsonl', 'more.jsonl', 'w.db'}
    reliability('SIGKILL while a catalog is built, built anew, or added to', killed, killed, 'the old one or the new one')

def test_other_rows_leave_the_catalog_as_it_was(place):
    build_catalog([place/'found.jsonl'], place/'w.db')
    before = (place/'w.db').read_bytes()
    write_jsonl(place/'old.jsonl', [_row(place/'scans/c.png'), dict(id='x', cer=.1)])
    for add in (True, False):
        with pytest.raises(Exception, match='line 2: is no row'): build_catalog([place/'old.jsonl'], place/'w.db', add)
        assert (place/'w.db').read_bytes() == before
    assert not list(place.glob('.tmp*'))

def test_confirmed_values_become_lines_and_contradicted_ones_a_task(place):
    (place/'list.csv').write_text('API,WELL,COUNTY,STATE,FIELD\n42-475-00001,SMITH 1,WARD,TX,KERMIT\n')
    write_jsonl(place/'found.jsonl', [_row(place/'scans/a.png', field='MONAHANS')])
    build_catalog([place/'found.jsonl'], place/'w.db', wells=place/'list.csv')
    from welllog_ocr.data.well_table import read_well_table, rows_of_scan
    from welllog_ocr.read.joins import write_review
    with closing(open_catalog(place/'w.db')) as db: write_review(db, place/'review')
    [row] = read_jsonl(place/'review/contradicted.jsonl')
    assert row['record']['fields']['field']['flags'] == ['list_says'] and row['record']['fields']['field']['list_says'] == 'KERMIT'
    [row] = rows_of_scan(read_well_table(place/'review/confirmed.jsonl'), place/'scans/a.png')
    assert {v.name: v.text for v in row.values} == dict(well='SMITH 1', county='WARD', state='TEXAS')

def _get(app, *paths):
    async def all_of(): return [await app.client.get(p) for p in paths]
    return asyncio.run(all_of())

def test_pages_in_a_browser(place):
    pytest.importorskip('datasette', reason='needs datasette: pip install "welllog_ocr[catalog]"')
    from welllog_ocr.read.browse import show
    build_catalog([place/'found.jsonl'], place/'w.db', scans=[place/'scans'])
    well, other, find, table, facets, none = _get(show(place/'w.db'), '/-/wells/w/1', '/-/wells/w/2', '/-/wells/w/find?q=jonex', '/w/pages?_facet=county', '/w/wells.json?_shape=array', '/-/wells/w/9')
    assert well.text.count('<img') == 4 and other.text.count('<img') == 0 and 'none of the folders' in other.text # the other scan is in no folder of the catalog
    for page in (well, other, find, table): assert page.status_code == 200 and EVIL not in page.text
    assert 'JONES' in find.text and '/-/wells/w/2' in find.text and '/-/wells/w/1' in table.text
    assert [w['well'] for w in facets.json()] == ['SMITH 1', f'JONES {EVIL} 2'] and none.status_code == 404
    assert EVIL not in search(place/'w.db', 'jones')
