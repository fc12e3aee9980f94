"""Time of a review against typing the record anew, and what a large file of results costs.

    python bench/review.py page [--model PP-OCRv6-small] [--values 60] [--wrong 12]
    python bench/review.py large [--pages 2000]

`page` draws a header of about 60 values, reads it with the model, makes 12 of its values wrong (those that the model misread first; then letters are confused), and puts it right in chromium the way a person would. No time is slept: a key or a click is 1 s and a look at
a value is 3 s. Typing anew is a look, its letters and Enter for each value. `large` makes results of many pages and times what the kernel does for a key.
"""
import argparse, random, resource, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'tests'))

KEY, LOOK = 1., 3. # seconds
CONFUSED = dict(zip('0O1I5S8B2Z6G', 'O0I1S5B8Z2G6'))

def confused(text:str, r)->str:
    at = [i for i, c in enumerate(text) if c.upper() in CONFUSED] or [r.randrange(len(text))]
    i = r.choice(at)
    return text[:i] + CONFUSED.get(text[i].upper(), 'x') + text[i + 1:]

def truth_of(page)->dict: # place -> text
    from welllog_ocr.draw.page import page_record
    found = page_record(page)
    return {**found['fields'], **{f'run{n}_{k}': t for n, run in enumerate(found['runs'], 1) for k, t in run.items()}}

def make_page(folder:Path, model:str, values:int, wrong:int, seed:int=7)->tuple[Path, dict]: # results, truth
    "A drawn page as `predict` read it, with so many wrong values"
    from welllog_ocr.draw.forms import lay_out
    from welllog_ocr.draw.page import draw_page
    from welllog_ocr.files import write_jsonl
    from welllog_ocr.predict import predict
    from welllog_ocr.read.backends import open_reader
    from welllog_ocr.read.export import record_values
    pages = (lay_out('review', i, 200) for i in range(400))
    page = next(p for p in pages if abs(len(truth_of(p)) - values) < 6)
    draw_page(page).save(folder/'page.png')
    row, truth, r = next(iter(predict(open_reader(model), [folder/'page.png'], 'page'))), truth_of(page), random.Random(seed)
    found = dict(record_values(row))
    for place in [p for p in found if p not in truth]: _drop(row, place)                       # counted with those below
    found = dict(record_values(row))
    bad = {p for p, v in found.items() if v['text'] != truth[p]} | (truth.keys() - found.keys())
    print(f'{len(truth)} values; {model} read {len(truth) - len(bad)} of them right, misread {len(bad & found.keys())} and missed {len(truth.keys() - found.keys())}')
    doubts = [found[p]['confidence'] for p in bad & found.keys()] or [.5]
    for p in r.sample(sorted(found.keys() - bad), max(0, wrong - len(bad))):
        found[p].update(text=confused(truth[p], r), confidence=r.choice(doubts)); bad.add(p)
    for p in r.sample(sorted(bad), max(0, len(bad) - wrong)):
        if p in found: found[p]['text'] = truth[p]
        else: del truth[p]                                                                     # neither found nor asked for
    write_jsonl(folder/'found.jsonl', [row])
    return folder/'found.jsonl', truth

def _drop(row:dict, place:str):
    from welllog_ocr.review.values import split_place
    run, name = split_place(place)
    (row['record']['runs'][run - 1] if run else row['record']['fields']).pop(name)

def edits(now:str, wanted:str)->tuple[int, list[str]]: # Where to click into the text, -1: press e, which selects it; keys
    "The fewest keys that turn a text into another: a click behind what is wrong, or all anew"
    a = next((i for i, (x, y) in enumerate(zip(now, wanted)) if x != y), min(len(now), len(wanted)))
    b = next((i for i, (x, y) in enumerate(zip(now[a:][::-1], wanted[a:][::-1])) if x != y), min(len(now), len(wanted)) - a)
    some = [*['Backspace']*(len(now) - b - a), *wanted[a:len(wanted) - b]]
    return (len(now) - b, some) if len(some) < len(wanted) else (-1, [*wanted])

def shortest(place:str, places:list)->str:
    "What has to be typed of a field until it is the first of the list that fits"
    fits = lambda part: next(p for test in (str.startswith, str.__contains__) for p in places if test(p, part))
    return min((place[a:b] for a in range(len(place)) for b in range(a + 1, len(place) + 1) if fits(place[a:b]) == place), key=len)

class Person:
    "Presses real keys, and counts the seconds that a person would need"
    def __init__(self, shown): self.shown, self.page, self.seconds, self.looks = shown, shown.page, 0., 0
    def look(self): self.seconds += LOOK; self.looks += 1
    def press(self, *keys):
        for k in keys: self.page.keyboard.press(k) if len(k) > 1 else self.page.keyboard.type(k)
        self.seconds += KEY*len(keys)
    def click(self, what): what.click(); self.seconds += KEY

    def fix(self, i:int, text:str):
        "Put row `i` right"
        v = self.shown.widget.listed()[i]
        if self.shown.widget.key != v.key: self.click(self.page.locator('.reviewer .row').nth(i)); self.page.wait_for_selector(f'.reviewer .row:nth-child({i + 1})[aria-selected=true]')
        if v.other == text: self.press('o')
        else:
            at, keys = edits(v.text, text)
            field = self.page.locator('.reviewer .edit input').first
            if at < 0: self.press('e')
            else: self.click(field); field.evaluate('(n, at) => n.setSelectionRange(at, at)', at) # a person aims
            self.press(*keys, 'Enter')
        self.shown.says('fixed')

    def add(self, place:str, text:str, box:tuple):
        "Draw a box around a value that was not found: a key, two ends, a field, a text"
        self.look(), self.press('m')
        r = self.page.locator('.reviewer .sheet').bounding_box()
        at = lambda x, y: self.page.mouse.move(r['x'] + x*r['width'], r['y'] + y*r['height'])
        at(*box[:2]), self.page.mouse.down(), at(*box[2:]), self.page.mouse.up()
        self.seconds += 2*KEY
        self.shown.says('read')
        self.press(*shortest(place, self.shown.widget.view['places']), 'Enter')
        if self.page.locator('.reviewer .form input').nth(1).input_value() != text: self.press(*text)
        self.press('Enter'), self.shown.says('added')

def review(found:Path, truth:dict, folder:Path, right_in_a_row:int)->tuple[Person, list]: # The person; places still wrong
    "Go through a page, least sure first, until so many values in a row were right; then all the rest is called right"
    from playwright.sync_api import sync_playwright
    from lab import ARGS, CHROMIUM
    from widget_page import WidgetPage
    from welllog_ocr.read.reviewed import Scans, open_review_of, reviewed_row
    from welllog_ocr.read.export import record_values
    from welllog_ocr.review.reviewer import RecordReviewer
    session = open_review_of(found, folder/f'review-{right_in_a_row}.jsonl', 'anna')
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
        person = Person(WidgetPage(browser, RecordReviewer(session, Scans(found)), folder))
        row = 0
        for i, v in enumerate(person.shown.widget.listed()):
            person.look()
            if i and i % 10 == 0: person.seconds += KEY       # the list is turned
            row = row + 1 if v.text == truth.get(v.place) else 0
            if not row: person.fix(i, truth[v.place])
            if row == right_in_a_row: break
        for place in truth.keys() - {v.place for v in session.page(0)}:
            person.add(place, truth[place], (.4, .9, .6, .93))
        person.press('A'), person.shown.says('values are right')
        assert not person.shown.errors
        browser.close()
    after = {p: v['text'] for p, v in record_values(reviewed_row(session, 0))}
    return person, sorted(p for p in truth.keys() | after.keys() if truth.get(p) != after.get(p))

def page(args):
    from welllog_ocr.render import text_table
    with tempfile.TemporaryDirectory() as tmp:
        found, truth = make_page(Path(tmp), args.model, args.values, args.wrong)
        anew, rows = sum(LOOK + KEY*(len(t) + 1) for t in truth.values()), []
        for name, until in (('every value is looked at', 10**6), ('until 12 in a row are right', 12)):
            person, wrong = review(found, truth, Path(tmp), until)
            rows.append([name, person.looks, f'{person.seconds:.0f} s', f'{person.seconds/anew:.2f}', len(wrong)])
        print(text_table(['review', 'looks', 'time', 'share', 'still wrong'], [*rows, ['all typed anew', len(truth), f'{anew:.0f} s', '1.00', 0]], 'lr'))

def large_file(folder:Path, pages:int, values:int=60)->Path:
    "Results of so many pages, with pictures of a few"
    import json
    from PIL import Image
    from welllog_ocr.files import sha256_file
    r, names = random.Random(1), []
    for i in range(20):
        Image.effect_noise((2040, 2600), 90).convert('1').save(folder/f'{i}.tif', compression='group4')
        names.append((str(folder/f'{i}.tif'), sha256_file(folder/f'{i}.tif')))
    box = lambda: [[(x := r.randrange(1800)), (y := r.randrange(2500))], [x + 180, y], [x + 180, y + 36], [x, y + 36]]
    fields = 'company well field county state location section township range api elev_kb elev_df elev_gl permanent_datum'.split()
    run = 'date depth_driller depth_logger btm_log_interval top_log_interval casing_driller casing_logger bit_size fluid_type density viscosity ph rm rmf rmc bht'.split()
    value = lambda: dict(text=str(r.randrange(10**6)), value=1., unit='ft', box=box(), lines=[0], flags=['below_total_depth'][:r.random() < .1], how='cell', confidence=round(r.random(), 4), evidence=[.5]*6)
    with open(folder/'found.jsonl', 'w') as f:
        for n in range(pages):
            file, sha = names[n % len(names)]
            runs = [{k: value() for k in run} for _ in range(3)]
            record = dict(form='api_rp31', fields={k: value() for k in fields[:max(0, values - 48)]}, runs=runs, other=[dict(label='', value=value()) for _ in range(40)])
            lines = [dict(text='12345 678', confidence=.9, row=k, box=box()) for k in range(140)]
            f.write(json.dumps(dict(file=file, page=0, sha256=sha[:-6] + f'{n:06d}' if n >= len(names) else sha, kind='page', size=[2040, 2600], region=[0, 2600], turns=0, skew=0., text='x'*2000, confidence=.8, lines=lines, record=record, unread=0)) + '\n')
    return folder/'found.jsonl'

def large(args):
    from welllog_ocr.render import size_text, text_table
    from welllog_ocr.read.reviewed import review_records
    with tempfile.TemporaryDirectory() as tmp:
        found, times = large_file(Path(tmp), args.pages), {}
        w, clock = None, time.process_time
        def timed(name, do):
            wall, start = time.perf_counter(), clock()
            out = do()
            times.setdefault(name, []).append((time.perf_counter() - wall, clock() - start))
            return out
        w = timed('open', lambda: review_records(found, review=Path(tmp)/'review.jsonl'))
        w.send = lambda m: None
        act = lambda **m: (w.show() if m.get('do') == 'show' else w.on_message(w, dict(n=1, **m)))
        prepare, w.prepare = w.prepare, lambda: None                     # what is done after the answer is not waited for
        w.set_order('page', 'all'), w.show()
        for _ in range(40): timed('next value, same page', lambda: act(do='go', by=1))
        for _ in range(15): timed('right, and on', lambda: act(do='ok', key=w.key))
        for _ in range(10):
            prepare_page = w.session.results.page_at(w.session.results.place[w.key]) + 1
            w.pictures(prepare_page), w.pages.move_to_end(w.n)
            timed('next page, made ready', lambda: act(do='turn', by=1))
        for _ in range(10): timed('next page, not ready', lambda: act(do='turn', by=1))
        rows = [[k, len(v), *(f'{1000*sorted(x[c] for x in v)[len(v)//2]:.0f} ms' for c in (0, 1)), f'{1000*max(x[0] for x in v):.0f} ms'] for k, v in times.items()]
        print(f'{args.pages} pages, {len(w.session.results)} values, a file of {size_text(found.stat().st_size)}')
        print(text_table(['what', 'times', 'median', 'of which processor', 'most'], rows, 'lr'))
        print(f'memory of the process: {size_text(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024)}')

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=('page', 'large'))
    p.add_argument('--model', default='PP-OCRv6-small')
    p.add_argument('--values', type=int, default=60)
    p.add_argument('--wrong', type=int, default=12)
    p.add_argument('--pages', type=int, default=2000)
    args = p.parse_args()
    dict(page=page, large=large)[args.what](args)
