"""Words that stand on one labelled sheet alone are drawn no more often than words that stand in one LAS file alone, and the lists are what their sources say."""
import gzip, json, math, re
from collections import Counter, defaultdict
from functools import cache

import pytest
from conftest import ROOT

from welllog_ocr.data.states import STATES
from welllog_ocr.draw import words
from welllog_ocr.draw.line import FORMS, line_text
from welllog_ocr.files import read_jsonl

DATA = ROOT.parent/'shared'/'data'
pytestmark = pytest.mark.skipif(not (DATA/'las_headers.jsonl.gz').exists(), reason='needs labelled lines and LAS headers, which are not part of the project; looked in shared/')
LISTS = ROOT/'welllog_ocr'/'draw'/'lists'
TITLES = 'company well field location location_of_well county'.split()
NAMES = '(?i)^(?:company|operator|well|farm|lease|field|location|county|recorded by|witness(?:ed by)?)[ :.]' # a labelled line that holds a name

def _words(text): return set(re.findall('[A-Z]{4,}', text.upper()))

@cache
def sheet_words()->dict: # word -> wells
    "Words of the names on labelled sheets: of lines, blocks and field truth"
    found, real = defaultdict(set), DATA/'real_headers'
    for kind in ('lines', 'blocks'):
        for split in ('train', 'eval'):
            for row in read_jsonl(real/kind/split/'metadata.jsonl'):
                for line in row['text'].splitlines():
                    if re.match(NAMES, line):
                        for w in _words(line): found[w].add(row['group'])
    for row in read_jsonl(real/'fields'/'fields.jsonl'):
        texts = [row['fields'].get(n, '') for n in TITLES] + [run.get(n, '') for run in row['runs'] for n in ('recorded_by', 'witnessed_by', 'equipment_location')]
        for w in _words(' '.join(texts)): found[w].add(row['group'])
    return found

@cache
def las_headers()->list: # (well, names) of each file
    rows = [json.loads(line) for line in gzip.open(DATA/'las_headers.jsonl.gz', 'rt', encoding='utf-8')]
    value = lambda row, names: [str(part[n]['value']).upper() for part in (row['well'], row['params']) for n in names if n in part]
    return [(value(row, ('COMP', 'WELL', 'LEAS', 'FLD')), value(row, ('LOC', 'ENG', 'WIT', 'ENGI', 'WITN'))) for row in rows]

@cache
def las_words()->tuple[Counter, Counter]:
    "In how many files a word stands; in how many different names"
    files = Counter(w for names, more in las_headers() for w in _words(' '.join(names + more)))
    names = {re.sub(r'\W+', ' ', n).strip() for found, _ in las_headers() for n in found}
    return files, Counter(w for n in names for w in set(re.findall('[A-Z]{3,}', n)))

CLOSED = dict(counties=3097, surnames=2000, given=340, towns=154, fields=156, formations=218) # lists that are what a source or a map says -> entries
PRINTED = 'values forms titles_old titles_new subtitles log_names tools muds remarks notes railways'.split() # what forms print and loggers say

@cache
def common()->set:
    "Words that are no sign of a sheet: of the closed lists as they are on the disk, of the trade, of more than one LAS file"
    files = [(LISTS.parents[1] if name == 'counties' else LISTS)/f'{name}.txt' for name in (*CLOSED, *PRINTED)]
    general = ' '.join(f.read_text(encoding='utf-8') for f in files)
    return _words(general + str(FORMS)) | {w for w, n in las_words()[0].items() if n > 1}

def rare()->tuple[set, set]:
    "Words of one labelled sheet alone, and words of one LAS file alone"
    sheet = {w for w, wells in sheet_words().items() if len(wells) == 1}
    return sheet - common(), {w for w, n in las_words()[0].items() if n == 1} - common() - set(sheet_words())

@cache
def drawn()->set: return set().union(*(_words(line_text('clean', i)) for i in range(20000)))

def surplus(seen:set)->tuple[float, list]:
    "Chance to draw so many of the sheets' rare words if they were LAS files' rare words; which they are"
    sheet, las = rare()
    found, p, n = sorted(sheet & seen), (len(las & seen) + 1)/(len(las) + 1), len(sheet)
    return sum(math.comb(n, k)*p**k*(1 - p)**(n - k) for k in range(len(found), n + 1)), found

def test_words_of_one_sheet_are_drawn_by_chance_alone():
    chance, found = surplus(drawn())
    assert len(rare()[0]) > 50 and chance > .01, found

def test_five_words_of_labelled_sheets_in_a_list_are_noticed(monkeypatch):
    leaked = tuple(w.title() for w in sorted(rare()[0] - drawn())[::7][:5])
    drawn.cache_clear()
    listed = words.listed
    monkeypatch.setattr(words, 'listed', lambda name: listed(name) + leaked if name == 'landscape' else listed(name))
    chance, found = surplus(drawn())
    drawn.cache_clear()
    assert chance < .01 and {w.upper() for w in leaked} <= set(found)

def test_the_list_of_las_files_is_what_they_say():
    "Words of three letters and more that stand in two or more different names"
    assert {w.upper() for w in words.listed('las_names')} == {w for w, n in las_words()[1].items() if n > 1}

def test_closed_lists_have_not_grown():
    "A new entry needs a source that knows nothing of the labelled sheets; whoever adds one changes the number above"
    size = {name: len(words.listed(name)) for name in CLOSED if name != 'counties'} | dict(counties=sum(len(s.counties) for s in STATES.values()))
    assert size == CLOSED

def test_every_list_names_its_source():
    for path in LISTS.glob('*.txt'): assert re.match('# .*Source: ', path.read_text(encoding='utf-8')), path.name
