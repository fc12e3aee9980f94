"""Evaluations: what the rows add up to, whatever the order, and that nothing ends a training from there."""
import json, random, shutil, subprocess, sys

import numpy as np
import pytest
import torch
from conftest import ROOT, share
from hypothesis import given, settings, strategies as st
from runs import events, tiny

import welllog_ocr.train
from welllog_ocr.core import ConfigError, DataError
from welllog_ocr.data.labels import well_key
from welllog_ocr.data.sample import Sample
from welllog_ocr.eval.folds import assign_folds
from welllog_ocr.eval.fields import coverage, figures, keystrokes, page_cells, read_cells
from welllog_ocr.evaluate import _arguments, main
from welllog_ocr.files import read_json, read_jsonl, write_jsonl
from welllog_ocr.eval.predictions import evaluate, repeated_characters
from welllog_ocr.eval.report import changed_lines, comparison, confusion_table, high_loss, kinds_of_error, slices, worst_first
from welllog_ocr.eval.rows import ROW, read_rows
from welllog_ocr.eval.stats import difference, intervals
from welllog_ocr.metrics import cer, char_edits, summarise, wer
from welllog_ocr.models.ctc import CTCRecogniser
from welllog_ocr.draw.line import SynthLines
from welllog_ocr.run.callbacks import Callback
from welllog_ocr.train import train

@pytest.fixture(scope='module')
def read():
    "The embedded model, lines, and their rows in float32"
    rec, lines = CTCRecogniser.from_pretrained(), list(SynthLines(32, 'rows'))
    return rec, lines, evaluate(rec, lines, bf16=False)

def test_losses_of_samples_add_up_to_the_loss_that_is_logged(home):
    folder = train(tiny(home, synth_eval_lines=24))
    logged = {r['step']: r for r in read_jsonl(folder/'metrics.jsonl') if r['split'] == 'eval'}
    for step, figures in logged.items():
        rows = read_jsonl(folder/'eval'/f'step-{step:08}.jsonl')
        finite = [r for r in rows if r['loss'] is not None]
        assert len(rows) == figures['n'] == 24 and len(finite) + figures['n_no_loss'] == 24
        assert abs(sum(r['loss_sum'] for r in finite)/sum(r['n_tokens'] for r in finite) - figures['loss']) < 1e-5
        assert all(r['loss_sum'] == pytest.approx(r['loss']*r['n_tokens'], abs=1e-9) for r in finite)
        assert all(len(r['digest']) == 16 and set(r) <= set(ROW) for r in rows)

def test_losses_are_those_of_the_model_one_sample_at_a_time(read):
    rec, lines, rows = read
    for s, r in zip(lines, rows):
        with torch.no_grad(): (loss,), (n,) = rec.losses(rec.collate([s]))
        assert r['loss_sum'] == pytest.approx(loss.item(), rel=1e-5, abs=1e-5) and r['n_tokens'] == n
        assert sum(r['losses']) == pytest.approx(r['loss_sum'], abs=.001*len(r['losses'])) and len(r['losses']) == n + 1

@pytest.mark.parametrize('seed', range(3))
def test_the_order_of_samples_changes_nothing(read, seed):
    rec, lines, rows = read
    order = random.Random(seed).sample(range(len(lines)), len(lines))
    mixed = evaluate(rec, [lines[i] for i in order], bs=3 + seed, bf16=False)
    for i, m in zip(order, mixed):
        assert {k: v for k, v in m.items() if not isinstance(v, (float, list))} == {k: v for k, v in rows[i].items() if not isinstance(v, (float, list))}
        for k in ('loss', 'loss_sum', 'confidence', 'loss_max'): assert m[k] == pytest.approx(rows[i][k], rel=1e-4, abs=2e-3 if k == 'loss_max' else 1e-5)
    again = [rows[i] for i in order] # equal rows, then, give equal figures, to the last bit
    assert summarise(again) == summarise(rows) and intervals(dict(a=again)) == intervals(dict(a=rows)) and comparison(dict(a=again)) == comparison(dict(a=rows))
    assert worst_first(again) == worst_first(rows) and confusion_table(again) == confusion_table(rows)
    assert changed_lines(again, mixed) == changed_lines(rows, mixed)

def test_a_language_changes_what_is_read_and_no_loss(read):
    rec, lines, rows = read
    try:
        rec.fit_language([s.text for s in SynthLines(300, 'language')], .5)
        told = evaluate(rec, lines, bf16=False)
    finally: rec.fit_language([], 0.)
    for key in ('loss', 'loss_sum', 'losses', 'loss_max'): assert [r[key] for r in told] == [r[key] for r in rows]
    assert [r['id'] for r in worst_first(told)] == [r['id'] for r in worst_first(rows)]
    assert [r['prediction'] for r in told] != [r['prediction'] for r in rows]

# --- lack of memory

@share(3, 50)
def test_lack_of_memory_in_an_evaluation_never_ends_a_training(home, n, monkeypatch, reliability):
    real, rng = CTCRecogniser.read, random.Random(n)
    weights = lambda folder: (folder/'final'/'model.safetensors').read_bytes()
    alone = weights(train(tiny(home, experiment_name='alone')))
    for i in range(n):
        room, calls, error = rng.choice([0, 1, 2, 3]), [0], rng.choice([torch.OutOfMemoryError('CUDA out of memory.'), MemoryError(), RuntimeError("can't allocate memory")])
        def short(self, batch):
            calls[0] += 1
            if len(batch['targets']) > room or calls[0] % 3 == 2: raise error # too large, or bad luck
            return real(self, batch)
        monkeypatch.setattr(CTCRecogniser, 'read', short)
        folder = train(tiny(home, experiment_name=f'short{i}'))
        monkeypatch.setattr(CTCRecogniser, 'read', real)
        assert events(folder, 'end') and events(folder, 'eval_out_of_memory') and weights(folder) == alone
        rows = [r for p in sorted((folder/'eval').glob('*.jsonl')) for r in read_jsonl(p)]
        unread = [r for r in rows if 'unread' in r]
        assert len(rows) == 9 and all('memory' in r['unread'] and r['prediction'] == '' and r['loss'] is None for r in unread)
        assert len(unread) == sum(e['samples'] == 1 for e in events(folder, 'eval_out_of_memory')) and (len(unread) == 9 if room == 0 else len(unread) < 9)
    reliability('out of memory in an evaluation: smaller batches, then the sample counts as not read', n, n, 'training unchanged')

def test_memory_that_suffices_for_halves_changes_no_figure(read, monkeypatch):
    rec, lines, rows = read
    real = CTCRecogniser.read
    def short(self, batch):
        if len(batch['targets']) > 5: raise torch.OutOfMemoryError('CUDA out of memory.')
        return real(self, batch)
    monkeypatch.setattr(CTCRecogniser, 'read', short)
    told = []
    halves = evaluate(rec, lines, bf16=False, workers=2, log=lambda what, **facts: told.append(facts['samples']))
    assert told == [16, 8] and [r['prediction'] for r in halves] == [r['prediction'] for r in rows]

# --- figures

text = st.text(st.sampled_from('AB01O8 .-'), max_size=10)

def row(i, ref, pred, well, loss): return dict(id=f'{i}', reference=ref, prediction=pred, cer=cer(ref, pred), wer=wer(ref, pred), loss=loss, n_tokens=len(ref), group=well, style='', info={})

rows_of = st.lists(st.tuples(text.filter(str.strip), text, st.sampled_from('ABCDEFGH'), st.one_of(st.none(), st.floats(0, 50))), min_size=1, max_size=16).map(
    lambda found: [row(i, *f) for i, f in enumerate(found)])

@settings(max_examples=100, deadline=None)
@given(rows_of, st.randoms())
def test_figures_of_any_rows(rows, rnd):
    mixed = rnd.sample(rows, len(rows))
    assert summarise(mixed) == summarise(rows) and intervals(dict(a=mixed), n=20) == intervals(dict(a=rows), n=20)
    edits = sum(char_edits(r['reference'], r['prediction'])[0] for r in rows)
    assert sum(kinds_of_error(rows).values()) == edits
    worst = worst_first(rows)
    assert worst == worst_first(mixed) and [r['loss'] for r in worst if r['loss'] is not None] == sorted((r['loss'] for r in rows if r['loss'] is not None), reverse=True)
    for n in (0, 3, 100):
        picked = high_loss(rows, 2., n)
        assert picked == worst[:len(picked)] and len(picked) >= min(n, len(rows)) and all(r['loss'] is not None and r['loss'] <= 2 for r in worst[len(picked):])
    both = difference(rows, mixed, n=20)
    assert both.value == 0 and (both.verdict == 'same' or both.low == -np.inf)
    assert sorted(i for part in slices(rows, 'group').values() for i in part) == list(range(len(rows)))

def test_an_interval_is_wider_where_wells_differ():
    alike  = [row(i, 'A'*20, 'B'*2 + 'A'*18, f'{i % 20}', 1.) for i in range(200)]
    differ = [row(i, 'A'*20, 'B'*(4*(i % 20 < 10)) + 'A'*(20 - 4*(i % 20 < 10)), f'{i % 20}', 1.) for i in range(200)]
    assert summarise(alike)['cer'] == summarise(differ)['cer'] == .1
    wide = lambda rows: np.diff(intervals(dict(a=rows))['a'])
    assert wide(alike) < 1e-9 and .05 < wide(differ) < .12

def by_hand(text):
    "Every tail, every piece"
    found = [len(text) - i - size for size in range(1, len(text) + 1) for i in range(len(text)) if len(text) - i >= max(4*size, 12) and all(text[j] == text[j - size] for j in range(i + size, len(text)))]
    return max(found, default=0)

@settings(max_examples=300, deadline=None)
@given(st.text('ab', max_size=6), st.text('abc', min_size=1, max_size=4), st.integers(0, 8))
def test_repetition(head, piece, times): assert repeated_characters(head + piece*times) == by_hand(head + piece*times)

# --- a way of training, by folds

def folds_args(home, data, *more):
    settings = dict(model_name=home/'model', data_path=data, max_steps=4, warmup_steps=1, language_texts=20, synth_share=.1, preflight='false', bf16='false', save_steps=2,
                    per_device_train_batch_size=4)
    return _arguments(['--folds', '3', '--output', str(home/'folds'), *(w for k, v in settings.items() for w in (f'--{k}', str(v))), *map(str, more)])

@pytest.fixture
def seven_wells(drawn):
    for split in ('train', 'eval'):
        rows = read_jsonl(drawn/split/'metadata.jsonl')
        write_jsonl(drawn/split/'metadata.jsonl', [dict(r, group=f'47-035-0000{i % 7}', style=('typed', 'printed')[i % 2]) for i, r in enumerate(rows)])
    return drawn

@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from('ABCDEFGHIJ'), min_size=30, max_size=60), st.integers(2, 5))
def test_folds_never_cut_a_well_and_are_balanced(groups, k):
    samples = [Sample(str(i), 'x', None, (9, 9), str(i), group=g) for i, g in enumerate(groups)]
    if len(set(groups)) < k: return
    folds = assign_folds(samples, k)
    assert len(set(zip(groups, folds))) == len(set(groups)) and set(folds) == set(range(1, k + 1))
    sizes = [folds.count(f) for f in set(folds)]
    assert max(sizes) - min(sizes) <= max(map(groups.count, groups))

def test_folds_learn_nothing_of_what_they_read(home, seven_wells, tmp_path):
    shutil.copytree(seven_wells/'train', tmp_path/'weak')
    weak = [dict(r, group=r['group'].replace('-', '')) for r in read_jsonl(tmp_path/'weak'/'metadata.jsonl')] # spelled in another way
    write_jsonl(tmp_path/'weak'/'metadata.jsonl', [*weak[:14], *(dict(r, group='elsewhere') for r in weak[14:])])
    rows = main(folds_args(home, seven_wells, '--also', tmp_path/'weak'))
    labelled = [(f'{split}/{r["file_name"]}', r['group']) for split in ('eval', 'train') for r in read_jsonl(seven_wells/split/'metadata.jsonl')]
    for found in rows.values(): assert [(r['id'], r['group']) for r in found] == labelled
    assert read_rows(home/'folds'/'rows.jsonl') == rows['fine-tuned']
    for k in (1, 2, 3):
        held = {r['group'] for r in rows['fine-tuned'] if r['fold'] == k}
        used = read_jsonl(home/'folds'/f'fold-{k}'/'data.jsonl')
        learned, evaluated = ([r for r in used if r['split'] == split] for split in ('train', 'eval'))
        written = read_jsonl(home/'folds'/f'fold-{k}'/'data'/'train'/'metadata.jsonl')
        wells = {r['group'] for r in written}
        assert 'elsewhere' in wells and not {well_key(w) for w in wells} & {well_key(w) for w in held}
        assert {r['id'].split('/')[0] for r in learned} == {'train', 'eval', 'also-1'}
        assert {r['id'] for r in learned} <= {r['id'] for r in written} and len(learned) > .8*len(written) # the tiny model does not know all letters
        assert all(r['id'].startswith(('synth-', 'crop-')) for r in evaluated) # not even looked at while it trains

def test_folds_go_on_and_add_up(home, seven_wells, monkeypatch):
    calls, real = [], welllog_ocr.train.train
    def cut_off(cfg):
        calls.append(cfg.experiment_name)
        if calls == ['fold-1', 'fold-2']:
            class Gone(Callback):
                def after_step(self, run):
                    if run.step == 3: raise RuntimeError('the pod is gone')
            return real(cfg, [Gone()])
        return real(cfg)
    monkeypatch.setattr(welllog_ocr.train, 'train', cut_off)
    with pytest.raises(RuntimeError, match='pod is gone'): main(folds_args(home, seven_wells))
    rows = main(folds_args(home, seven_wells))
    assert calls == ['fold-1', 'fold-2', 'fold-2', 'fold-3'] and events(home/'folds'/'fold-2', 'resumed')
    assert main(folds_args(home, seven_wells, '--against', home/'folds')) == rows and len(calls) == 4
    assert '| all | +0.00 (+0.00 to +0.00) points | +0.0 (+0.0 to +0.0) points |' in (home/'folds'/'table.md').read_text()
    parts = read_json(home/'folds'/'summary.json')['parts']
    assert parts['all']['lines'] == 24 == sum(p['lines'] for name, p in parts.items() if name != 'all') and parts['all']['wells'] == 7
    assert parts['all']['cer']['fine-tuned'][0] == summarise(rows['fine-tuned'])['cer'] and len(parts['all']['exact']['untouched']) == 3
    with pytest.raises(ConfigError, match='max_steps: 4 -> 5'): main(folds_args(home, seven_wells, '--max_steps', '5'))
    write_jsonl(seven_wells/'eval'/'metadata.jsonl', [dict(r, text='KB 912') for r in read_jsonl(seven_wells/'eval'/'metadata.jsonl')])
    with pytest.raises(ConfigError, match='labelled'): main(folds_args(home, seven_wells))

def test_drawn_lines_alone_are_learned_once(home, seven_wells, monkeypatch):
    calls, real = [], welllog_ocr.train.train
    monkeypatch.setattr(welllog_ocr.train, 'train', lambda cfg: calls.append(cfg.data_path) or real(cfg))
    rows = main(folds_args(home, seven_wells, '--drawn_only', '--synth_lines', '16'))
    assert calls == [None] and len(rows['fine-tuned']) == 24 and {r['fold'] for r in rows['fine-tuned']} == {1, 2, 3}

# --- records of whole sheets, against their truth

JUDGE = ROOT.parent/'shared'/'tools'/'score_fields.py' # no part of the project

def sheets(n, seed):
    "Made-up truth, and records with every kind of mistake"
    rng, truth, found = random.Random(seed), [], []
    text = lambda: rng.choice(['SHELL OIL CO.', '10,228', '8-5/8" @ 1,000', '.58 @ 82 °F', "3609'", 'Texas', '12/1/78', '№ 7', ' ', '?', '', '180', '.180'])
    names = ['company', 'well', 'elev_kb', 'elev_gl'], ['run_no', 'date', 'rm', 'bht', 'depth_driller']
    values = lambda names: {k: text() for k in names if rng.random() < .8}
    def read(cells):
        out = {k: rng.choice([v, v, v.lower(), v.replace(',', ''), text(), v[:-1]]) for k, v in cells.items() if rng.random() < .9} | ({'ph': text()} if rng.random() < .2 else {})
        return {k: v if rng.random() < .1 else dict(text=v, confidence=round(rng.random(), 1)) for k, v in out.items()}
    for i in range(n):
        t = dict(file_name=f'{i}.png', group=f'well {i//2}', form=rng.choice(['api', 'old']), split=rng.choice(['train', 'eval', 'eval']),
                 fields=values(names[0]), runs=[values(names[1]) for _ in range(rng.choice([0, 1, 2, 3, 4, 7]))], unsure=rng.sample(['fields.well', 'runs.0.rm', 'runs.1.bht', 'other'], 2))
        runs = [read(r) for r in t['runs'] if rng.random() < .9] + [read(values(names[1])) for _ in range(rng.choice([0, 0, 1]))]
        rng.shuffle(runs)
        truth.append(t)
        if rng.random() < .9: found.append(dict(file=f'scans/{i}.png', page=0, record=rng.choice([dict(fields=read(t['fields']), runs=runs)]*9 + [None])))
    return truth, found

# what the judge said of sheets(30, seed), split eval
JUDGED = {0: {'all': [217, 101, 169], 'title': [40, 22, 32], 'runs': [177, 79, 137], 'coverage': 0.055299539170506916},
          1: {'all': [163, 87, 143], 'title': [39, 21, 31], 'runs': [124, 66, 112], 'coverage': 0.018404907975460124}}

@pytest.mark.parametrize('seed', range(2))
def test_cells_count_as_the_judge_counts_them(tmp_path, seed):
    truth, found = sheets(30, seed)
    write_jsonl(tmp_path/'truth.jsonl', truth), write_jsonl(tmp_path/'found.jsonl', found)
    cells, _ = read_cells(tmp_path/'truth.jsonl', tmp_path/'found.jsonl', 'eval')
    judged = JUDGED[seed]
    if JUDGE.exists():
        asked = [sys.executable, JUDGE, tmp_path/'truth.jsonl', tmp_path/'found.jsonl', '--split', 'eval', '--json']
        said = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
        assert judged == {k: [said[k][n] for n in ('cells', 'right', 'given')] for k in ('all', 'title', 'runs')} | dict(coverage=said['coverage_at_99'])
    for part, of in dict(all=cells, title=[c for c in cells if c['part'] == 'title'], runs=[c for c in cells if c['part'] == 'run']).items():
        f = figures(of)
        assert [f[k] for k in ('cells', 'right', 'given')] == judged[part]
        assert f['recall'] == pytest.approx(f['right']/f['cells']) and f['f1'] == pytest.approx(2*f['recall']*f['precision']/(f['recall'] + f['precision']))
    assert coverage(cells) == pytest.approx(judged['coverage'])
    low, high = figures(cells)['interval']
    assert 0 <= low < figures(cells)['f1'] < high <= 1

def test_kinds_of_wrong_cells_add_up_and_keystrokes_are_counted():
    truth, found = sheets(20, 5)
    read = {r['file'].removeprefix('scans/'): r['record'] or {} for r in found}
    cells = [c for t in truth for c in page_cells(t, read.get(t['file_name'], {}))]
    n = figures(cells)
    assert sum(n['wrong'].values()) == sum(not c['right'] for c in cells) and n['keystrokes'] == sum(map(keystrokes, cells))
    assert all(n['wrong'].values()) and n['wrong']['invented'] == sum(not c['truth'] for c in cells)
    one = lambda truth, **found: {c['field']: (c['wrong'], keystrokes(c)) for c in page_cells(dict(file_name='x', fields=truth), dict(fields={k: dict(text=v) for k, v in found.items()}))}
    assert one(dict(elev_kb='3609', elev_gl='3594'), elev_kb='3594', elev_gl='3609') == dict(elev_kb=('place', 3), elev_gl=('place', 3))
    assert one(dict(company='ABC', well='', field='X Y'), company='ABD', well='7', api='9') == dict(company=('text', 1), well=('invented', 1), api=('invented', 1), field=('missing', 3))
    assert one(dict(section='9', range='9'), section='9') == dict(section=('', 0), range=('missing', 1)) # the 9 stands where it belongs

@pytest.mark.parametrize('wrong, why', ((dict(fields='x'), 'no such file'), (dict(split='none'), 'no row of split'), (dict(found=[dict(file='z.png')]), 'none of the')))
def test_records_that_cannot_be_held_against_the_truth(tmp_path, wrong, why):
    truth, found = sheets(4, 1)
    write_jsonl(tmp_path/'truth.jsonl', truth), write_jsonl(tmp_path/'found.jsonl', wrong.get('found', found))
    args = ['--fields', str(tmp_path/wrong.get('fields', 'truth.jsonl')), '--predictions', str(tmp_path/'found.jsonl'), '--split', wrong.get('split', '')]
    with pytest.raises(DataError, match=why): main(_arguments(args))
