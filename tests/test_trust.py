"The confidence of a field: what it must heed, and a file of weights that is broken"
import copy, json
import numpy as np
import pytest

from welllog_ocr.core import DataError, rng_for
from welllog_ocr.read.trust import FEATURES, SIGNS, Evidence, add_features, fit_weights, load_weights, save_weights, set_confidence
from welllog_ocr.read.validators import finish_record

SURE = [.97, .95, 1., 1., .9, 1.]
TEXTS = dict(depth_driller='8200', depth_logger='8202', btm_log_interval='8199', casing_driller='9 5/8 @ 3900', casing_logger='3898',
             bit_size='7 7/8', bht='150', rm='.58 @ 82 °F', density='9.4', date='9-21-76', fluid_type='FRESH GEL')

def record(texts=TEXTS, evidence={}):
    values = {n: dict(text=t, flags=[], evidence=list(evidence.get(n, SURE))) for n, t in texts.items()}
    return finish_record(dict(form='api_rp31', fields={}, runs=[values], other=[]))

def sure(rec, name, weights=None): return set_confidence(copy.deepcopy(rec), weights)['runs'][0][name]['confidence']

@pytest.mark.parametrize('k', [f for f in Evidence._fields if f not in ('fit',)])
@pytest.mark.parametrize('name', ['depth_driller', 'fluid_type'])
def test_worse_evidence_never_raises_a_confidence(k, name):
    at = Evidence._fields.index(k)
    worse = SURE[:at] + [.4 if k != 'looks' else 0.] + SURE[at + 1:]
    assert sure(record(evidence={name: worse}), name) <= sure(record(), name)

@pytest.mark.parametrize('name,wrong', [('depth_driller', '82000'), ('depth_driller', '4200'), ('bit_size', '7 1/4'), ('casing_logger', '6898'),
                                        ('bht', '15'), ('rm', '580 @ 82 °F'), ('density', '94'), ('date', '9-41-76')])
def test_a_flag_lowers_a_confidence(name, wrong):
    bad = record(TEXTS | {name: wrong})
    doubt = lambda rec: 1 - sure(rec, name)
    assert bad['runs'][0][name]['flags'] and doubt(bad) > 2.5*doubt(record())

def test_flags_and_agreement_have_a_weight_of_their_own():
    weights = load_weights()
    assert weights['flags'] < -.5 and weights['unparsed'] < -.5 and weights['same'] + weights['agree'] > .5 and weights['disputed'] < -.3
    deaf, bad = weights | dict(flags=0., disputed=0.), record(TEXTS | dict(depth_driller='4200'))
    assert 1 - sure(bad, 'depth_driller', weights) > 2.5*(1 - sure(bad, 'depth_driller', deaf))

def test_the_value_that_others_speak_against_is_doubted():
    rec = record(TEXTS | dict(depth_driller='6200', depth_logger='6202'))
    assert not rec['runs'][0]['depth_logger']['flags'] and sure(rec, 'depth_logger') < sure(record(), 'depth_logger')

def test_the_weights_keep_their_signs():
    weights = load_weights()
    assert all(weights[f]*sign >= 0 for f, sign in SIGNS.items() if sign)
    r = rng_for('noise')
    some = np.abs(r.normal(0, 1, (400, len(FEATURES)))).tolist()
    fitted = fit_weights(some, (r.random(400) < .5).tolist())
    assert all(fitted[f]*sign >= 0 for f, sign in SIGNS.items() if sign) and np.isfinite([*fitted.values()]).all()

def test_a_file_of_weights_comes_back_and_a_broken_one_is_refused(tmp_path):
    path, weights = tmp_path/'w.json', load_weights()
    save_weights(path, weights, 9)
    assert load_weights(path) == weights
    for bad in ('{', '[]', '{}', json.dumps(dict(format=2, weights=weights)), json.dumps(dict(format=1, weights={})),
                json.dumps(dict(format=1, weights=weights | dict(cell='x')))):
        path.write_text(bad)
        with pytest.raises(DataError, match='w.json: (holds no weights.*--fit FILE|not readable)'): load_weights(path)
    with pytest.raises(DataError, match='no weights'): load_weights(tmp_path/'absent.json')
    older = {f: w for f, w in weights.items() if f != 'is log_title'}
    save_weights(path, older, 9)
    assert load_weights(path)['is log_title'] == 0 # of a field that came later

def test_an_empty_record_stays_empty():
    for rec in (dict(form='', fields={}, runs=[], other=[]), dict(form='', fields={}, runs=[{}], other=[])):
        assert set_confidence(rec) is rec and not add_features(rec)['fields']
