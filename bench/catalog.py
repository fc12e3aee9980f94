"""A catalog of many pages, and a list of wells to join it with: how long, and how right?

    python bench/catalog.py [--pages 100000] [--folder FOLDER]
    python bench/catalog.py --joins [--wells 500] [--seeds 1 2 3] [--misread 0.02] [--show 10]

The pages are simulated rows of true size (95 lines and 40 values, 29 kB) of drawn wells, with letters misread. Printed are the times of the build (with a list of a tenth of the wells), of searches, and of the page of a well in a browser (the scan of which is 2000 x 40000 pixels).

Of the list, typed by others with slips of their own, a scan and its row are known to be of one well. Six in ten wells have a look-alike: the next number of the lease, the same name and company in another county, the same number on another lease, another hole; some of these are in the list, of some there
is a scan, some are in one of the two alone. The points and limits of `read.wells` were chosen on seeds 100 to 105.
"""
import argparse, csv, json, math, sqlite3, subprocess, sys, tempfile, time
from collections import Counter
from contextlib import closing
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from PIL import Image

from welllog_ocr.catalog import build_catalog
from welllog_ocr.core import rng_for
from welllog_ocr.draw.page import SynthPages
from welllog_ocr.draw.wells import make_well
from welllog_ocr.draw.words import make_value
from welllog_ocr.read.index import find_pages, open_catalog
from welllog_ocr.read.wells import Matcher, well_facts, levels, points, read_list

ALIKE = dict(zip('0OIl15S8B2Z6GEFCDUVMNHRA', 'OQl1IS5B828GbFECODUVNMIRKH'[:24])) # letters and what they are taken for
JOINED = {'rn': 'm', 'm': 'rn', 'll': 'II', 'ii': 'u', 'LI': 'U', 'N': 'II'}

def misread(text:str, r, rate:float)->str:
    "The text as a model might read it"
    out = list(text)
    for i in np.flatnonzero(r.random(len(text)) < rate):
        c, kind = text[i], r.random()
        if c in ALIKE and kind < .6: out[i] = ALIKE[c]
        elif c in JOINED and kind < .75: out[i] = JOINED[c]
        elif kind < .85: out[i] = ''
        elif c != ' ' and kind < .93: out[i] = c + c
        else: out[i] = chr(int(r.integers(65, 91))) if c.isalpha() else str(int(r.integers(10))) if c.isdigit() else c
    return ''.join(out)

def value(text, r, y, rate, kind=None)->dict:
    sure, x = float(np.round(r.beta(6, 1.5), 4)), int(r.integers(50, 1600))
    box = [[x, y], [x + 16*len(text), y], [x + 16*len(text), y + 34], [x, y + 34]]
    return dict(text=misread(text, r, rate), value=kind, unit='', box=box, lines=[y//40, y//40 + 1], flags=['unparsed'] if sure < .25 else [], how='cell', confidence=sure,
                evidence=[round(float(v), 3) for v in r.random(6)])

LABELS = ('COMPANY|WELL|FIELD|COUNTY|STATE|LOCATION|Sec.|Twp.|Rge.|Other Services|Permanent Datum|Elev.|Log Measured From|Ft. Above Perm. Datum|Drilling Measured From|Elev.: K.B.|D.F.|G.L.|Date|Run No.|'
          'Type Log|Depth-Driller|Depth-Logger|Btm. Log Interval|Top Log Interval|Casing-Driller|Casing-Logger|Bit Size|Type Fluid in Hole|Dens. Visc.|pH Fluid Loss|Source of Sample|Rm @ Meas. Temp.|'
          'Rmf @ Meas. Temp.|Rmc @ Meas. Temp.|Source: Rmf Rmc|Rm @ BHT|Time Since Circ.|Max. Rec. Temp.|Equip. Location|Recorded By|Witnessed By|REMARKS').split('|')

def facts(w)->tuple[dict, list]:
    title = dict(company=w.company, well=w.name, field=w.field, county=w.county, state=w.state, api=w.api, location=', '.join(w.where), section=w.section, township=w.township, range=w.range,
                 service_company=w.service, log_title=w.title, permit_no=w.permit, elev_kb=str(w.kb), elev_gl=str(w.gl))
    runs = [dict(run_no=str(x.number), date=x.date.strftime('%m-%d-%y'), depth_driller=f'{x.tdd}', depth_logger=f'{x.tdl}', btm_log_interval=f'{x.bli}', top_log_interval=f'{x.tli}',
                 casing_driller=f'{x.csgs} @ {x.csgd}', bit_size=x.bs, fluid_type=x.mud, density=f'{x.density}', viscosity=f'{x.visc}', rm=f'{x.rm[0]} @ {x.rm[1]}', bht=f'{x.bht}',
                 recorded_by=x.eng, witnessed_by=x.wit, equipment_no=x.unit, equipment_location=x.base) for x in w.runs[:2]]
    return {k: v for k, v in title.items() if v}, runs

def page(n:int, rate:float=.04)->dict:
    "A row as `predict` writes it"
    r = rng_for('page', n)
    title, runs = facts(make_well('bench', n//2 if n % 5 == 0 else n))
    read = lambda part, y0: {k: value(v, r, y0 + 40*i, rate, v) for i, (k, v) in enumerate(part.items())}
    texts = LABELS + list(title.values()) + [t for x in runs for t in x.values()] + [make_value(r, 'town') for _ in range(12)]
    lines = [dict(value(t, r, 40*i, rate), row=i//2) for i, t in enumerate(texts)]
    lines = [{k: l[k] for k in ('text', 'confidence', 'row', 'box')} for l in lines]
    text = '\n'.join(l['text'] for l in lines)
    record = dict(form='api_rp31', fields=read(title, 0), runs=[read(x, 900) for x in runs], other=[dict(label='', value=value(t, r, 40*i, rate)) for i, t in enumerate(LABELS[:25])])
    return dict(file=f'/archive/box{n//1000}/log{n:06}.tif', page=0, sha256=f'{n:064x}', kind='log', size=[2000, 40000], region=[0, 4000], turns=0, skew=.1, text=text, confidence=.8, lines=lines,
                record=record, unread=2, model='x', how='auto')

def write_pages(job:tuple):
    path, first, n = job
    with open(path, 'w') as f:
        for i in range(first, first + n): f.write(json.dumps(page(i), ensure_ascii=False) + '\n')

def simulate(folder:Path, n:int):
    jobs = [(folder/f'found{i:04}.jsonl', i*1000, min(1000, n - i*1000)) for i in range(-(-n//1000))]
    with Pool(2) as pool: pool.map(write_pages, jobs, 1)
    size = sum(p.stat().st_size for p in folder.glob('*.jsonl'))
    print(f'{n} pages, {size/1e9:.2f} GB, {size/n/1e3:.1f} kB each')

ROADS = 'same lease, next number|same name, other county|same number, other lease|another hole of the well'

def typo(text:str, r)->str:
    "A slip of who typed the list"
    if len(text) < 4: return text
    i, u = int(r.integers(1, len(text) - 1)), r.random()
    return text[:i] + (text[i + 1] + text[i] + text[i + 2:] if u < .4 else text[i + 1:] if u < .7 else text[i] + text[i:])

def reworded(name:str, r)->str:
    "The name of a well as another office writes it"
    for a, b in (('Federal', 'Fed'), ('University', 'Univ'), ('Estate', 'Est'), ('Bros.', 'Brothers'), ('Unit', 'Un.')):
        if r.random() < .4: name = name.replace(a, b)
    sign = ('No. ', '#', '', ' # ', 'NO ', '')[int(r.integers(6))]
    name = name.replace(', Well No. ', ' # ').replace(' NO. ', ' # ').replace(' No. ', ' # ').replace('#', '# ')
    return ' '.join(name.replace('# ', sign).split()).upper() if r.random() < .7 else name

def listed_row(w, r)->dict:
    "A well as a list has it"
    state = w.state if r.random() < .5 else w.abbreviation
    county = w.county.upper() if r.random() < .6 else w.county + (' Parish' if w.state == 'Louisiana' else ' Co.') if r.random() < .5 else w.county
    if r.random() < .08 and len(w.county) > 6: county = w.county[:4] + '.' # spelled short
    api = w.api if r.random() < .5 else w.api.replace('-', '') + ('', '00', '0000')[int(r.integers(3))]
    row = dict(API_NO=api if r.random() < .85 else '', WELL_NAME=reworded(w.name, r), OPERATOR=w.company.split(',')[0].replace(' Company', ' Co').replace('Corporation', 'Corp'),
               FIELD_NAME=w.field, COUNTY=county, STATE=state, SEC=w.section if w.township else '', TWP=w.township, RGE=w.range, KB=w.kb)
    if r.random() < .2: row['OPERATOR'] = make_well('buyer', w.company).company # sold since
    for k in ('WELL_NAME', 'OPERATOR', 'FIELD_NAME'):
        if r.random() < .1: row[k] = typo(row[k], r)
    return row

def scanned(w, r, rate:float)->dict:
    "What is read of its sheet"
    there = dict(well=1, company=.97, field=.9, county=.95, state=.95, section=.7, township=.7, range=.7, api=.45)
    values = dict(well=w.name, company=w.company, field=w.field, county=w.county, state=w.state if r.random() < .6 else w.abbreviation, section=w.section, township=w.township, range=w.range, api=w.api)
    if r.random() < .5: values = {k: v.upper() for k, v in values.items()}
    return {k: misread(v, r, rate) for k, v in values.items() if v and r.random() < there[k]}

def trap(w, r)->tuple:
    "Another well that is easily taken for this one"
    other, kind = make_well('other', w.api, int(r.integers(1000))), ROADS.split('|')[int(r.integers(4))]
    number = ''.join(c for c in w.name if c.isdigit()) or '1'
    if kind == 'same lease, next number': return kind, w._replace(name=w.name.replace(number, str(int(number) + 1)) if number in w.name else w.name + ' 2', api=other.api[:2] + w.api[2:6] + other.api[6:])
    if kind == 'same name, other county': return kind, other._replace(name=w.name, company=w.company, field=w.field)
    if kind == 'same number, other lease': return kind, w._replace(name=' '.join(other.name.split()[:1]) + f' {number}', api=w.api[:6] + other.api[6:], section=other.section)
    return kind, w

def planted(seed:int, n:int, rate:float):
    "(list, scans, row that each scan is of, or `None`)"
    r, rows, scans, truth = rng_for('planted', seed), [], [], []
    for i in range(n):
        w = make_well('planted', seed, i)
        rows.append(listed_row(w, r))
        scans.append(scanned(w, r, rate)); truth.append(len(rows) - 1)
        if r.random() < .6:
            kind, other = trap(w, r)
            if kind == 'another hole of the well':
                if rows[-1]['API_NO']: rows.append(rows[-1] | dict(API_NO=w.api + '-01-00'))
                continue
            in_list = r.random() < .6
            if in_list: rows.append(listed_row(other, r))
            if not in_list or r.random() < .3: scans.append(scanned(other, r, rate)); truth.append(len(rows) - 1 if in_list else None)
    rows += [listed_row(make_well('more', seed, i), r) for i in range(3*n)]
    order = r.permutation(len(rows))
    place = {int(o): i for i, o in enumerate(order)}
    return [rows[i] for i in order], scans, [None if t is None else place[t] for t in truth]

def joins(seed:int, n:int, rate:float, show:int=0):
    rows, scans, truth = planted(seed, n, rate)
    with tempfile.TemporaryDirectory() as tmp:
        path = Path(tmp)/'list.csv'
        with open(path, 'w', newline='') as f:
            out = csv.DictWriter(f, list(rows[0])); out.writeheader(); out.writerows(rows)
        listed = read_list(path)
    find, start = Matcher(listed.facts), time.perf_counter()
    found = [find(well_facts(s)) for s in scans]
    took = time.perf_counter() - start
    made = sum(m is not None for m in found)
    right = sum(m is not None and m.row == t for m, t in zip(found, truth))
    there = sum(t is not None for t in truth)
    bad = [(s, m, t) for s, m, t in zip(scans, found, truth) if (m and m.row) != t]
    for s, m, t in bad[:show]: print(s, '\n   FOUND', m and (rows[m.row], m.score, m.how), '\n   TRUTH', t is not None and (rows[t], points(well_facts(s), listed.facts[t]), levels(well_facts(s), listed.facts[t])))
    print(f'seed {seed}, letters misread {rate:.0%}: {there} planted among {len(rows)} rows and {len(scans)} scans; {made} joined, {right} right: '
          f'precision {right/max(1, made):.2%}, recall {right/there:.2%} ({took/len(scans)*1e3:.1f} ms each)', flush=True)
    return right, made, there

def fit(seeds, n:int, rate:float):
    "log2 of how much more often a level is seen with pairs of one well than with others that come up beside them"
    good, bad = {}, {}
    for seed in seeds:
        rows, scans, truth = planted(seed, n, rate)
        with tempfile.TemporaryDirectory() as tmp:
            path = Path(tmp)/'list.jsonl'
            path.write_text('\n'.join(map(json.dumps, rows)))
            listed = read_list(path)
        find = Matcher(listed.facts)
        for s, t in zip(scans, truth):
            f = well_facts(s)
            for i in find.candidates(f) | ({t} if t is not None else set()):
                for k, v in levels(f, listed.facts[i]).items(): (good if i == t else bad).setdefault(k, Counter())[v] += 1
    for k in good:
        share = lambda c, v: (c[v] + .5)/(c.total() + 1)
        print(k, {v: round(math.log2(share(good[k], v)/share(bad[k], v)), 1) for v in sorted(set(good[k]) | set(bad[k]))}, good[k].total(), bad[k].total())

QUESTIONS = 'kermit ellenburger|university texas|schlumberger|state 1|bouvier rose|depth-driller 10250|hobbs lea|papa pike unit|anadarko oklahoma|30-025-12481'.split('|')

def tall_scan(path:Path):
    "A header sheet on top of a log, as scans are: 2000 x 40000 pixels, bilevel"
    head = SynthPages(1, seed=3, dpi=200)[0].image.convert('L')
    img = Image.new('L', (2000, 40000), 255)
    img.paste(head.resize((2000, min(4000, 2000*head.height//head.width))), (0, 0))
    img.convert('1').save(path, compression='group4')

def in_a_browser(url:str)->list[float]: # seconds of five visits
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path='/usr/bin/chromium', args=['--no-sandbox'])
        page, times = browser.new_page(), []
        for _ in range(5):
            start = time.perf_counter()
            page.goto(url, wait_until='load')
            times.append(time.perf_counter() - start)
            assert page.locator('img').count() > 10, 'the page has no pictures'
        browser.close()
    return times

def browsed(path:Path):
    "The page of a well whose scan is there"
    tall_scan(scan := path.with_name('scan.tif'))
    with sqlite3.connect(path) as db:
        page, file, well = db.execute('SELECT pages.id, file, of_well FROM pages JOIN joins ON joins.page = pages.id WHERE pages.lines > 80 LIMIT 1').fetchone()
        db.execute('UPDATE files SET path=? WHERE id=?', (str(scan.absolute()), file))
        db.execute('INSERT OR IGNORE INTO folders VALUES (?)', (str(scan.absolute().parent),))
    run = subprocess.Popen([sys.executable, '-m', 'welllog_ocr.catalog', str(path), '--serve', '--port', '8765'], stdout=subprocess.PIPE, text=True)
    try:
        run.stdout.readline()
        time.sleep(2)
        times = in_a_browser(f'http://127.0.0.1:8765/-/wells/{path.stem}/{well}?page={page}')
        print(f'page of a well in a browser: {times[0]:.2f} s the first time, then {sorted(times)[2]:.2f} s')
    finally: run.terminate(); run.wait()

def whole(folder:Path, n:int):
    folder.mkdir(parents=True, exist_ok=True)
    if len(list(folder.glob('found*.jsonl'))) < -(-n//1000): simulate(folder, n)
    path = folder/'wells.db'
    with open(folder/'list.jsonl', 'w') as f:
        for i in range(0, n, 10): f.write(json.dumps(listed_row(make_well('bench', i), rng_for('row', i))) + '\n')
    start, cpu = time.perf_counter(), time.process_time()
    found = build_catalog([folder], path, wells=folder/'list.jsonl')
    print(f'build of {n} pages: {time.perf_counter() - start:.0f} s, of which {time.process_time() - cpu:.0f} s of one core; {path.stat().st_size/1e9:.2f} GB; {found}')
    with closing(open_catalog(path)) as db:
        for q in QUESTIONS:
            start = time.perf_counter()
            hits = find_pages(db, q)
            print(f'  {time.perf_counter() - start:.3f} s, {len(hits)} pages: {q}')
    browsed(path)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--pages', type=int, default=100_000)
    p.add_argument('--folder', type=Path, help='for the pages, which are kept there; otherwise they go')
    p.add_argument('--joins', action='store_true', help='the list of wells alone')
    p.add_argument('--wells', type=int, default=500)
    p.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    p.add_argument('--misread', type=float, default=.02, help='share of the letters on the scans')
    p.add_argument('--show', type=int, default=0, help='so many of the mistakes')
    p.add_argument('--fit', action='store_true', help='what each level of agreement speaks for')
    args = p.parse_args()
    if args.fit: fit(range(100, 104), args.wells, args.misread)
    else:
        for seed in args.seeds: joins(seed, args.wells, args.misread, args.show)
        if not args.joins:
            with tempfile.TemporaryDirectory() as tmp: whole(args.folder or Path(tmp), args.pages)
