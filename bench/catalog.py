"""A catalog of many pages, and a list of wells to join it with: how long, and how right?

    python bench/catalog.py [--pages 100000] [--folder FOLDER] [--keep]
    python bench/catalog.py --joins [--wells 500] [--seed 1]

The pages are simulated rows of true size (about 95 lines and 35 values, 29 kB) of drawn wells, with letters misread at the rate that real sheets show. Printed are the times of the build, of searches, and of the page of a well as a browser gets it.
"""
import argparse, json, shutil, subprocess, sys, tempfile, time
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from welllog_ocr.core import rng_for
from welllog_ocr.draw.wells import make_well
from welllog_ocr.draw.words import make_value

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

def timed(what:str, f):
    start = time.perf_counter()
    out = f()
    print(f'{what}: {time.perf_counter() - start:.2f} s', flush=True)
    return out

def simulate(folder:Path, n:int):
    jobs = [(folder/f'found{i:04}.jsonl', i*1000, min(1000, n - i*1000)) for i in range(-(-n//1000))]
    with Pool(2) as pool: pool.map(write_pages, jobs, 1)
    size = sum(p.stat().st_size for p in folder.glob('*.jsonl'))
    print(f'{n} pages, {size/1e9:.2f} GB, {size/n/1e3:.1f} kB each')

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--pages', type=int, default=100_000)
    p.add_argument('--folder', type=Path)
    args = p.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    timed('simulated', lambda: simulate(args.folder, args.pages))
