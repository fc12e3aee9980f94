"""Is it still the same run? Every setting, changed; and a checkpoint of each format that was ever written."""
from dataclasses import asdict, fields

import pytest
from conftest import ROOT
from hypothesis import given, settings, strategies as st
from runs import ALL, make_model, tiny

from welllog_ocr.run.checkpoint import FORMAT, Snapshot, latest_valid, load, state_digest, verify
from welllog_ocr.config import TrainingConfig, _kinds, resume_class
from welllog_ocr.core import ConfigError
from welllog_ocr.run.samples import run_data
from welllog_ocr.run.folder import begin, check_same, config_changes
from welllog_ocr.models.ctc import tiny_ctc
from welllog_ocr.run.state import capture, restore
from welllog_ocr.run.step import Run

KEYS = [f.name for f in fields(TrainingConfig)]
CHOICES = dict(lr_scheduler_type=['linear', 'cosine', 'constant'], optim=['adamw'], metric_for_best_model=['cer', 'loss'], data_path=[None, 'here', 'there'])
BATCH = ('per_device_train_batch_size', 'gradient_accumulation_steps')

def values(name):
    "Values that a setting may have, by its type"
    kinds = _kinds(next(f for f in fields(TrainingConfig) if f.name == name).type)
    if name in CHOICES: return st.sampled_from(CHOICES[name])
    if bool in kinds: return st.booleans()
    if int in kinds: return st.integers(1, 10_000)
    if float in kinds: return st.floats(0.001, .999)
    return st.text('abc', min_size=1, max_size=5)

def test_every_setting_has_one_class():
    assert {resume_class(n) for n in KEYS} == {'free', 'recorded', 'refused'}

@pytest.mark.parametrize('examples', [60, pytest.param(1000, marks=pytest.mark.soak)])
def test_changes_of_any_settings_are_seen(examples, reliability, tmp_path):
    old = TrainingConfig()
    begin(tmp_path, old, [], 'f')
    @settings(max_examples=examples, deadline=None, database=None, derandomize=True)
    @given(st.data(), st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True))
    def run(data, names):
        try: new = old.replace(**{n: data.draw(values(n)) for n in names})
        except ConfigError: return # such a run cannot be asked for
        changed = old.diff(new).keys()
        batch = old.per_device_train_batch_size*old.gradient_accumulation_steps == new.per_device_train_batch_size*new.gradient_accumulation_steps
        want = {cls: {n for n in changed if resume_class(n) == cls and not (batch and n in BATCH)} for cls in ('recorded', 'refused')}
        recorded, refused = config_changes(asdict(old), asdict(new))
        assert (set(recorded), set(refused)) == (want['recorded'], want['refused'])
        try: notes = check_same(tmp_path, new, [], 'f')[1]
        except ConfigError as e:
            assert want['refused'] and all(n in str(e) for n in want['refused'])
            return
        assert not want['refused'] and all(any(n in note for note in notes) for n in want['recorded'])
    run()
    reliability('any settings changed between two starts: reported or refused by their class', examples, examples, '')

@pytest.mark.parametrize('name', KEYS)
def test_a_setting_that_an_old_run_did_not_have_counts_with_its_default(name):
    old = asdict(TrainingConfig())
    del old[name]
    assert config_changes(old, asdict(TrainingConfig())) == ({}, {})

# --- checkpoints of earlier formats: a folder is added with each new format, and none is ever changed

OLD = {1: 'eb781f1a8044bc6a5ae702251722eca61db127979cb9efaa119d47de776c06f0'} # format -> digest of the state that was saved

def test_every_format_has_its_checkpoint(): assert set(OLD) == set(range(1, FORMAT + 1))

@pytest.mark.parametrize('number', OLD)
def test_old_checkpoints_are_read(number, tmp_path):
    root = ROOT/'tests'/'fixtures'/f'format-{number}'
    assert sum(p.stat().st_size for p in root.rglob('*')) < 50_000
    folder = next(root.glob('step-*'))
    assert verify(folder)['format'] == number
    found, bad = latest_valid(root, 'a-run-of-format-1')
    assert not bad and state_digest(found) == OLD[number] == state_digest(load(folder))

@pytest.mark.parametrize('number', OLD)
def test_a_run_goes_on_from_an_old_state(number, tmp_path):
    "Tensors of today's tiny model, and all the counts as they were written then"
    make_model(tmp_path)
    cfg = tiny(tmp_path, max_steps=4)
    cfg.run_dir.mkdir(parents=True)
    rec = tiny_ctc(ALL)
    run = Run(cfg, rec, run_data(cfg, rec))
    now, old = capture(run), load(next((ROOT/'tests'/'fixtures'/f'format-{number}').glob('step-*')))
    restore(run, Snapshot(old.step, now.model, now.optimizer, {**old.state, 'frozen': now.state['frozen'], 'moments': {}}))
    assert (run.step, run.epoch, run.at, run.seen, run.schedule.last_epoch, run.ema.steps) == (4, 0, 4, 16, 4, 4)
    assert run.journal.rows == old.state['metrics_rows'] > 0
