"""A healthy set gives no alarm; each planted fault is found, with its verdict; nothing of a data set becomes part of the page."""
import io, os, re, shutil, subprocess, sys
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image, ImageOps

from welllog_ocr.core import DataError
from welllog_ocr.files import read_jsonl, write_jsonl
from welllog_ocr.data.checks import quick
from welllog_ocr.data.finding_kinds import KINDS
from welllog_ocr.doctor import doctor, examine, read_splits
from welllog_ocr.data.findings import INFO, LOOK, MUST, Example, Finding, Histogram, Report
from welllog_ocr.draw.ink import SHARES
from welllog_ocr.synth import write_folder

@pytest.fixture(scope='module', autouse=True)
def neat():
    "Lines without what the doctor is to find: wide gaps, cut letters"
    before, SHARES['edges'] = SHARES['edges'], 0.
    yield
    SHARES['edges'] = before

def alarms(report)->dict: return {f.kind: f.verdict for f in report.findings if f.verdict != INFO}

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "A healthy folder: 260 lines to train on, 240 to test on"
    path = tmp_path_factory.mktemp('doctor')/'healthy'
    write_folder(path, n=500, seed='doctor', eval_share=.48)
    return path

@pytest.fixture(scope='module')
def healthy(folder): return read_splits(folder)[0]

# A healthy set

@pytest.mark.parametrize('seed', range(4))
def test_a_clean_set_gives_no_alarm(seed, tmp_path):
    write_folder(tmp_path/'set', n=450, seed=seed, eval_share=.46)
    splits, skips = read_splits(tmp_path/'set')
    assert alarms(examine(splits, skips)) == {} == alarms(quick(splits, skips))

def test_the_real_set_has_nothing_that_must_be_fixed(real_lines):
    report = examine(*read_splits(real_lines))
    assert report.must_fix == []
    assert {'balance', 'eval_small'} <= set(alarms(report))   # true of it: hardly any handwriting in train

def test_the_order_and_the_number_of_threads_change_nothing(healthy, monkeypatch):
    pages = set()
    for cores in (1, 3):
        monkeypatch.setattr(os, 'cpu_count', lambda: cores)
        pages.add(examine(healthy).html())
    assert len(pages) == 1

# Faults of samples: what is done to the splits, the kind that is found

def text(new, i=3, split='train'):
    "Replace the label of a sample, or change it by a function"
    def plant(d): d[split][i] = replace(d[split][i], text=new(d[split][i].text) if callable(new) else new)
    return plant

def image(change, i=3, split='train', **kw):
    "Replace the image of a sample"
    def plant(d):
        s = d[split][i]
        img = change(s.image)
        d[split][i] = replace(s, load=lambda: img, size=img.size, **kw)
    return plant

def long_line(samples): return next(i for i, s in enumerate(samples) if len(s.text) > 22 and s.size[0] > 300 and len(set(s.text)) > 9)

def short_line(samples, least, most): return next(i for i, s in enumerate(samples) if least <= len(s.text) <= most and s.style == 'printed' and ' ' not in s.text)

def jpeg(img, quality=60, scale=.9):
    file = io.BytesIO()
    img.convert('L').resize((round(img.width*scale), round(img.height*scale))).save(file, 'JPEG', quality=quality)
    return Image.open(file).convert('L')

def copy(source, target, change=lambda img: img, **kw):
    "Add the copy of a long line of one split to another"
    def plant(d):
        s = d[source][long_line(d[source])]
        img = change(s.image)
        d[target].append(replace(s, id='copy.png', group='another well', load=lambda: img, size=img.size, **kw))
    return plant

def every(split='train', **kw):
    def plant(d): d[split] = [replace(s, **{k: v(s) if callable(v) else v for k, v in kw.items()}) for s in d[split]]
    return plant

def groups(train, held):
    def plant(d): d['train'][0], d['eval'][0] = replace(d['train'][0], group=train), replace(d['eval'][0], group=held)
    return plant

def both(*plants):
    def plant(d):
        for p in plants: p(d)
    return plant

def shifted(d): d['train'] = [replace(s, text=t.text) for s, t in zip(d['train'], d['train'][1:] + d['train'][:1])]
def small(d): d['train'] = [replace(s, load=partial(lambda s: s.image.resize((max(1, s.size[0]//3), max(1, s.size[1]//3)), Image.BOX), s), size=(max(1, s.size[0]//3), max(1, s.size[1]//3))) for s in d['train']]
def loose(d):
    for i in range(60): image(lambda img: ImageOps.expand(img, (0, 4*img.height), 0 if np.median(np.asarray(img)) < 128 else 255), i)(d)
def few(d): d['eval'] = d['eval'][:50]
def hand(d): d['eval'] = [replace(s, style='handwritten') if i < 120 else s for i, s in enumerate(d['eval'])]

FAULTS = {
    'the same pixels in both splits':      (copy('train', 'eval'), 'copy_across', MUST),
    'the same pixels twice in train':      (copy('train', 'train'), 'copy_inside', LOOK),
    'a JPEG of a train line in eval':      (copy('train', 'eval', jpeg), 'near_across', MUST),
    'a wider crop of a train line in eval': (copy('train', 'eval', lambda img: jpeg(ImageOps.expand(img, 5, 0 if np.median(np.asarray(img)) < 128 else 255), 80, 1.)), 'near_across', MUST),
    'colours removed, brightness changed': (copy('train', 'eval', lambda img: img.convert('L').point(lambda v: int(v*.8) + 20)), 'near_across', MUST),
    'a JPEG of a train line in train':     (copy('train', 'train', jpeg), 'near_inside', LOOK),
    'one picture, two labels':             (copy('train', 'train', text='FIELD UNNAMED 7'), 'both_labels', MUST),
    'a JPEG with another label':           (copy('train', 'train', partial(jpeg, quality=95, scale=1.), text='FIELD UNNAMED 7'), 'near_labels', LOOK),
    'a well in both splits':               (groups('47-083-00103', '47-083-00103'), 'well_across', MUST),
    'a well spelled without dashes':       (groups('47-083-00103', '4708300103'), 'spelled_across', MUST),
    'a well in capitals':                  (groups('McCoy #1', 'MCCOY 01'), 'spelled_across', MUST),
    'two spellings in one split':          (lambda d: d['train'].__setitem__(slice(0, 2), [replace(s, group=g) for s, g in zip(d['train'], ('McCoy #1', 'MCCOY 1'))]), 'spelled_inside', LOOK),
    'an API number in labels of both':     (both(text('API No. 47-083-00103', 1), text('API 4708300103', 1, 'eval')), 'api_across', MUST),
    'an API number in group and label':    (both(groups('47-083-00103', 'Jones 1'), text('PERMIT 47-083-00103-00', 1, 'eval')), 'api_across', MUST),
    'rows without a group':                (every(group=''), 'no_group', LOOK),
    'an empty label':                      (text('  '), 'empty', MUST),
    'a refusal':                           (text("I'm sorry, but I can't assist with that."), 'chatter', MUST),
    'an assistant':                        (text('As an AI language model I transcribe: KB 912'), 'chatter', MUST),
    'a description':                       (text('The image shows a ruled form.'), 'chatter', MUST),
    'unreadable, it says':                 (text('WELL [unreadable] #1'), 'placeholder', LOOK),
    'a loop':                              (text(lambda t: t + ' Oil Co.'*9), 'loop', MUST),
    'a repeated line':                     (text('Witnessed By\n'*4 + 'x'), 'loop', MUST),
    'a table left open':                   (text('<table><tr><td>Rm</td></tr>'), 'unbalanced', MUST),
    'a table left open in column html':    (lambda d: d['train'].__setitem__(3, replace(d['train'][3], info=dict(html='<table><tr>'))), 'unbalanced', MUST),
    'a fence':                             (text(lambda t: f'```\n{t}\n```'), 'fence', MUST),
    'a zero-width space':                  (text(lambda t: t + '\u200b'), 'invisible', MUST),
    'a control character':                 (text(lambda t: '\x07' + t), 'invisible', MUST),
    'a Cyrillic letter':                   (text('\u0421OUNTY LEA'), 'look_alike', MUST),
    'the wrong encoding':                  (text('142 \u00c2\u00b0F'), 'mojibake', MUST),
    'a file name':                         (text(lambda t: 'scan_0007.png'), 'file_name', MUST),
    'the id of the row':                   (lambda d: d['train'].__setitem__(3, replace(d['train'][3], id='wv083_grni', text='wv083_grni')), 'file_name', MUST),
    'longer than max_seq_length':          (text(' '.join(f'TD {i}' for i in range(900))), 'cut', MUST),
    'an entity':                           (text('SMITH &amp; SONS'), 'escaped', LOOK),
    'space at the end':                    (text(lambda t: t + ' '), 'spacing', LOOK),
    'a no-break space':                    (text('KB\u00a0912'), 'spacing', LOOK),
    'a letter from elsewhere':             (text('WELL \u53e3 #1'), 'foreign', LOOK),
    'one label for all':                   (lambda d: [text('FIELD WILDCAT', i)(d) for i in range(60)], 'one_label', LOOK),
    'a paragraph on a word':               (lambda d: text('Log measured from Kelly Bushing 11.7 feet above permanent datum, drilling likewise; see remarks',
                                            next(i for i, s in enumerate(d['train']) if len(s.text) < 12))(d), 'too_long', LOOK),
    'a word for a long line':              (lambda d: text('KB', long_line(d['train']))(d), 'too_short', LOOK),
    'a letter for a short word':           (lambda d: text(lambda t: t[0], short_line(d['train'], 6, 9))(d), 'too_short', LOOK),
    'a name on a number':                  (lambda d: text('COUNTY OR PARISH', short_line(d['train'], 1, 3))(d), 'too_long', LOOK),
    'more characters than columns':        (lambda d: text('1'*60, next(i for i, s in enumerate(d['train']) if s.size[0] < 4*s.size[1]))(d), 'dense', LOOK),
    'labels shifted by one row':           (shifted, 'shuffled', MUST),
    'a blank image':                       (image(lambda img: Image.new('L', img.size, 250)), 'blank', MUST),
    'a blank image with dust':             (image(lambda img: Image.fromarray(np.where(np.arange(img.width*img.height).reshape(img.size[::-1]) % 997, 255, 0).astype(np.uint8))), 'blank', MUST),
    'a black image':                       (image(lambda img: Image.new('L', img.size, 3)), 'black', MUST),
    'a line on its side':                  (lambda d: image(lambda img: img.rotate(90, expand=True), long_line(d['train']))(d), 'turned', LOOK),
    'a very long strip':                   (image(lambda img: img.resize((img.height*80, img.height))), 'aspect', LOOK),
    'a tiny image':                        (image(lambda img: img.resize((60, 9))), 'tiny', LOOK),
    'an image at a third of its size':     (small, 'small_letters', LOOK),
    'crops with wide margins':             (loose, 'small_in_line', LOOK),
    'several lines that call themselves one': (text('KB 912\nGL 900'), 'line_break', LOOK),
    'an unknown kind':                     (every(kind='sentence'), 'unknown', LOOK),
    'a slip in made':                      (lambda d: d['train'].__setitem__(3, replace(d['train'][3], style='typd')), 'unknown', LOOK),
    'labels of a model':                   (every(info=dict(source='qwen3-vl-2b', verified=False)), 'unverified', LOOK),
    'an eval split of fifty':              (few, 'eval_small', LOOK),
    'no eval split':                       (lambda d: d.pop('eval'), 'no_eval', LOOK),
    'handwriting in eval only':            (hand, 'balance', LOOK),
}

@pytest.fixture(scope='module')
def measured_once():
    "Most images of a fault are the healthy ones: measure each only once"
    import welllog_ocr.data.checks as checks
    real, known = checks.measure_quality, {}
    def measure_quality(img):
        key = img.size, img.mode, img.tobytes()
        if key not in known: known[key] = real(img)
        return known[key]
    checks.measure_quality = measure_quality
    yield
    checks.measure_quality = real

@pytest.mark.parametrize('fault', FAULTS)
def test_a_planted_fault_is_found(fault, healthy, measured_once):
    plant, kind, verdict = FAULTS[fault]
    ill = {split: list(samples) for split, samples in healthy.items()}
    plant(ill)
    report = examine(ill)
    assert alarms(report).get(kind) == verdict, alarms(report)
    if verdict == LOOK: assert {f.kind for f in report.must_fix} <= {'empty'}, 'a fault that is worth a look raises no other alarm that must be fixed'
    assert all(f.examples and f.why and f.do for f in report.findings)

def test_there_are_enough_faults():
    assert len({kind for _, kind, _ in FAULTS.values()}) >= 40
    assert {k for k, v in KINDS.items() if v.verdict == MUST} <= {kind for _, kind, _ in FAULTS.values()} | {'unreadable', 'left_out'}

def test_verified_labels_of_a_model_are_fine(healthy):
    good = {split: [replace(s, info=dict(source='qwen3-vl-2b', verified=True)) for s in samples] for split, samples in healthy.items()}
    assert 'unverified' not in examine(good).kinds

def test_an_image_that_vanished_after_reading(folder, healthy):
    def gone():
        raise DataError('x.png: no such file')
    ill = {**healthy, 'train': [replace(healthy['train'][0], load=gone), *healthy['train'][1:]]}
    assert alarms(examine(ill)) == {'unreadable': MUST}

# Faults of files

def plant_file(folder, **changes):
    rows = read_jsonl(folder/'train'/'metadata.jsonl')
    for i, (_, change) in enumerate(changes.items()): change(folder/'train', rows[i])
    write_jsonl(folder/'train'/'metadata.jsonl', rows)

@pytest.mark.parametrize('kind, change', [
    ('unreadable', lambda d, r: (d/r['file_name']).write_bytes(b'')), ('unreadable', lambda d, r: (d/r['file_name']).write_bytes((d/r['file_name']).read_bytes()[:80])),
    ('unreadable', lambda d, r: (d/r['file_name']).unlink()), ('unreadable', lambda d, r: Image.new('1', (9000, 9000)).save(d/r['file_name'])),
    ('empty', lambda d, r: r.update(text='')), ('left_out', lambda d, r: r.update(file_name='../../etc/passwd')), ('left_out', lambda d, r: r.update(text=912))])
def test_a_broken_file_is_listed(kind, change, folder, tmp_path):
    shutil.copytree(folder, tmp_path/'ill')
    plant_file(tmp_path/'ill', only=change)
    assert alarms(examine(*read_splits(tmp_path/'ill'))) == {kind: MUST}

def test_a_split_that_cannot_be_read_is_a_finding(folder, tmp_path):
    shutil.copytree(folder, tmp_path/'ill')
    (tmp_path/'ill'/'eval'/'metadata.jsonl').write_text('{"txt": 1}\n')
    assert alarms(examine(*read_splits(tmp_path/'ill'))) == {'left_out': MUST, 'no_eval': LOOK}

# The command

def run(*args):
    return subprocess.run([sys.executable, '-m', 'welllog_ocr.doctor', *map(str, args)], capture_output=True, text=True, cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)})

def test_the_command_ends_with_0_or_3(folder, tmp_path):
    got = run(folder, '--html', tmp_path/'page.html')
    assert got.returncode == 0 and 'Nothing to fix' in got.stdout, got.stderr
    assert (tmp_path/'page.html').read_text().startswith('<!DOCTYPE html>')
    shutil.copytree(folder, tmp_path/'ill')
    plant_file(tmp_path/'ill', a=lambda d, r: r.update(text="I'm sorry \x1b[31m"))
    got = run(tmp_path/'ill', '--quick')
    assert got.returncode == 3 and '■ must fix: Labels in which an assistant talks (1)' in got.stdout and 'Traceback' not in got.stderr
    assert '\x1b' not in got.stdout + got.stderr
    assert run(folder/'eval').returncode == 0                       # one table, nothing held out
    for args, status in (([tmp_path/'nowhere'], 3), ([folder, '--max_seq_length', '0'], 2), ([folder, '--html', '/proc/none/page.html'], 3)):
        got = run(*args)
        assert got.returncode == status and 'Traceback' not in got.stderr

# What is done about a finding

@pytest.fixture
def ill(folder, tmp_path):
    "Two blank images, a copy of a train line in eval, a short label that is right"
    shutil.copytree(folder, tmp_path/'ill')
    rows = {split: read_jsonl(tmp_path/'ill'/split/'metadata.jsonl')[:40] for split in ('train', 'eval')}
    for r in rows['train'][:2]: Image.new('L', (300, 40), 250).save(tmp_path/'ill'/'train'/r['file_name'])
    shutil.copy(tmp_path/'ill'/'train'/rows['train'][5]['file_name'], tmp_path/'ill'/'eval'/rows['eval'][5]['file_name'])
    rows['eval'][5]['text'] = rows['train'][5]['text']
    for split in rows: write_jsonl(tmp_path/'ill'/split/'metadata.jsonl', rows[split])
    return tmp_path/'ill'

def test_what_is_dropped_is_left_out_and_what_is_accepted_is_not_reported_again(ill):
    report = doctor(ill)
    blank  = report.names('blank')
    assert len(blank) == 2 and all((ill/name).is_file() for name in blank)
    report.drop('blank'), report.drop('copy_across')
    marks = [(m['state'], m['id']) for m in read_jsonl(ill/'review.jsonl')]
    assert len(marks) == 3 and {s for s, _ in marks} == {'dropped'}        # of the copies, the one in train
    report.accept('eval_small')
    after = doctor(ill)
    assert not {'blank', 'copy_across', 'eval_small'} & set(after.kinds) and 'samples dropped 3' in after.facts[0]
    assert 'not reported again: 1 (eval_small 1)' in after.text()
    once = len(after.kinds['once'].examples)
    after.accept('once')
    rows = read_jsonl(ill/'train'/'metadata.jsonl')
    rows[9]['text'] += '℗'                                           # a new one of a kind that was accepted
    write_jsonl(ill/'train'/'metadata.jsonl', rows)
    again = doctor(ill)
    assert [e.note for e in again.kinds['once'].examples if '℗' in e.note] == ['℗'] and f'once {once}' in again.facts[1]

def test_the_command_lists_drops_and_accepts(ill):
    got = run(ill, '--list', 'blank')
    assert got.returncode == 0 and [(ill/name).is_file() for name in got.stdout.splitlines()] == [True]*2, got.stderr
    got = run(ill, '--drop', 'blank', '--accept', 'copy_across')
    assert got.returncode == 0 and '2 of 2 samples of blank are dropped' in got.stdout and '1 of copy_across accepted' in got.stdout
    got = run(ill, '--drop', 'blak')
    assert got.returncode == 3 and "'blak' was not found" in got.stderr and 'Traceback' not in got.stderr

def test_copies_that_no_mark_tells_apart_stay(ill):
    for split in ('train', 'eval'):                                       # the same name, text and pixels, and no group
        if split == 'train': shutil.copy(ill/'train'/read_jsonl(ill/'train'/'metadata.jsonl')[9]['file_name'], ill/'same.png')
        shutil.copy(ill/'same.png', ill/split/'same.png')
        write_jsonl(ill/split/'metadata.jsonl', [dict(file_name='same.png', text='KB 912')])
    with pytest.raises(DataError, match='names no sample that could be marked'): doctor(ill).drop('copy_across')
    assert not (ill/'review.jsonl').exists()

# The page

TAGS = set('details summary pre html head meta title style body main h1 h2 h3 p nav table thead tbody tr th td a section span b em br img svg g rect text line ul li code div'.split())
ATTRIBUTES = set('lang charset http-equiv content name class scope id href aria-label alt src viewbox role x y x1 y1 x2 y2 width height text-anchor'.split())

class Page(HTMLParser):
    "The tags and attributes of a page, and whether they nest"
    def __init__(self, page):
        super().__init__()
        self.stack, self.tags, self.links = [], [], []
        self.feed(page)
        self.close()
        assert self.stack == [], self.stack

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, tag
        assert {k for k, _ in attrs} <= ATTRIBUTES, attrs
        self.links += [v for k, v in attrs if k in ('href', 'src')]
        self.tags.append(tag)
        if tag not in ('meta', 'img', 'br'): self.stack.append(tag)

    def handle_endtag(self, tag): assert self.stack.pop() == tag

    def handle_comment(self, data): raise AssertionError(data)

PAYLOADS = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "' onmouseover='x", '<!-- x', '</style><script>', '</title><b>', '&lt;b&gt;', '<svg/onload=x>', ']]>', 'javascript:x', '<td>', '</section></main>',
            '\u202eevil\u202c', '\x00<b>', '\u2028<i>', '<a href="http://x">', '{{7*7}}', '${x}', '`x`', '<br>' * 50, '\ud800<b>', 'x' * 9000]

def hostile(payload):
    "A report in which every text is the payload"
    e = Example(payload, payload, payload, (lambda: Image.new('L', (9, 9), 255), lambda: (_ for _ in ()).throw(ValueError(payload))))
    return Report(payload, [Finding('chatter', v, payload, payload, payload, 2, (e,)) for v in (MUST, LOOK, INFO)], {payload: ([payload, payload], [[payload, 1]])}, [Histogram(payload, [(payload, 3)], payload)],
                  [(c, 1) for c in dict.fromkeys(payload)], [payload])

def check_page(payload):
    report, twin = hostile(payload), hostile(re.sub('[^\n]', 'x', payload))                # as long, with as many lines
    twin = replace(twin, characters=[('x', 1)]*len(report.characters))
    for of in (lambda r: r.html(), lambda r: r._repr_html_()):
        page = Page(of(report))
        assert page.tags == Page(of(twin)).tags
        assert all(l.startswith(('#', 'data:image/png;base64,')) for l in page.links)
    report.text().encode('utf-8', 'strict')
    assert not re.search('[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]', report.text() + report._repr_markdown_())

@pytest.mark.parametrize('payload', PAYLOADS, ids=range(len(PAYLOADS)))
def test_no_payload_becomes_part_of_the_page(payload): check_page(payload)

@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=60))
def test_no_text_becomes_part_of_the_page(payload): check_page(payload)

def test_labels_ids_and_groups_of_samples_stay_text(healthy):
    evil = '"><script>x</script>'
    ill = {split: [replace(s, id=f'{evil}{i}', group=evil, text=f'{evil} I\'m sorry', kind=evil, style=evil, info=dict(source=evil)) for i, s in enumerate(samples[:30])] for split, samples in healthy.items()}
    report = examine(ill, name=evil)
    assert len(report.findings) > 5
    page = report.html()
    assert '<script' not in page and 'script' not in Page(page).tags
    assert 'src=' in page and not re.search(r'https?://', page)

def test_names_that_are_not_utf8(folder, tmp_path):
    odd = tmp_path/os.fsdecode(b'Br\xfccke')
    shutil.copytree(folder/'eval', odd/'eval')
    rows = read_jsonl(odd/'eval'/'metadata.jsonl')
    rows[0] |= dict(file_name=(odd/'eval'/rows[0]['file_name']).rename(odd/'eval'/os.fsdecode(b'M\xfchle.png')).name, text='As an AI language model I transcribe: KB 912', id='')
    write_jsonl(odd/'eval'/'metadata.jsonl', rows)
    done = subprocess.run([sys.executable, '-m', 'welllog_ocr.doctor', odd/'eval', '--html', odd/'page.html'], capture_output=True, text=True, cwd=ROOT, env=os.environ | dict(PYTHONIOENCODING='utf-8:strict'))
    assert done.returncode == 3 and 'chatter' in done.stdout and (odd/'page.html').is_file(), done.stdout + done.stderr
