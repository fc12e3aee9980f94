"""Rules that check a record, held against wells that fit together and against faults that were planted in them."""
import random

import pytest

from welllog_ocr.draw.wells import make_well
from welllog_ocr.read.validators import finish_record

WELLS = 200

def _run(n)->dict:
    at = lambda value: f'{value[0]} @ {value[1]} °F'
    return dict(run_no=str(n.number), date=f'{n.date:%m-%d-%Y}', depth_driller=f'{n.tdd}', depth_logger=f'{n.tdl}', btm_log_interval=f'{n.bli}', top_log_interval=f'{n.tli}',
                casing_driller=f'{n.csgs} @ {n.csgd}', casing_logger=f'{n.csgl}', bit_size=n.bs, density=f'{n.density}', viscosity=f'{n.visc}', ph=f'{n.ph}', fluid_loss=f'{n.loss}',
                rm=at(n.rm), rmf=at(n.rmf), rmc=at(n.rmc), rm_bht=at((n.rmb, n.bht)), bht=f'{n.bht} °F')

def record(i:int)->dict:
    "The record of a well that never was, as it would be read"
    w = make_well('validators', i)
    title = dict(company=w.company, well=w.name, county=w.county, state=w.state, api=w.api, permanent_datum='G.L.', permanent_datum_elev=f'{w.gl}', log_measured_above_pd=f'{w.apd}',
                 log_measured_from=dict(kb='K.B.', df='D.F.')[w.datum], elev_kb=f'{w.kb}', elev_df=f'{w.df}', elev_gl=f'{w.gl}')
    cells = lambda texts: {k: dict(text=t, flags=[]) for k, t in texts.items()}
    return dict(form='api_rp31', fields=cells(title), runs=[cells(_run(n)) for n in w.runs], other=[])

def flagged(record:dict)->dict:
    finish_record(record)
    return {(n, k): bool(v['flags']) for n, part in enumerate((record['fields'], *record['runs'])) for k, v in part.items()}

def test_values_that_fit_are_hardly_ever_flagged():
    found = [f for i in range(WELLS) for f in flagged(record(i)).values()]
    assert len(found) > 6000 and sum(found)/len(found) <= .02

def _times(text:str, factor:float)->str: return f'{float(text)*factor:g}'

def thousandfold(r, rec):
    "A value 1,000 times too large or too small"
    run = r.choice(rec['runs'])
    name = r.choice(['depth_driller', 'depth_logger', 'btm_log_interval', 'casing_logger', 'density', 'viscosity', 'ph'])
    run[name]['text'] = _times(run[name]['text'], r.choice([1000, .001]))
    return (rec['runs'].index(run) + 1, name),

def depths_swapped(r, rec):
    "Top and bottom of the log, one in the other's cell"
    run = r.choice(rec['runs'])
    run['top_log_interval'], run['btm_log_interval'] = run['btm_log_interval'], run['top_log_interval']
    return (rec['runs'].index(run) + 1, 'top_log_interval'), (rec['runs'].index(run) + 1, 'btm_log_interval')

def bushing_below_ground(r, rec):
    "The kelly bushing below the ground"
    t = rec['fields']
    t['elev_kb'], t['elev_gl'] = t['elev_gl'], t['elev_kb']
    return (0, 'elev_kb'), (0, 'elev_gl')

@pytest.mark.parametrize('plant', [thousandfold, depths_swapped, bushing_below_ground], ids=lambda f: f.__name__)
def test_planted_faults_are_flagged(plant):
    r, caught = random.Random(0), 0
    for i in range(WELLS):
        rec = record(i)
        where = plant(r, rec)
        found = flagged(rec)
        caught += all(found[w] for w in where)
    assert caught/WELLS >= .95
