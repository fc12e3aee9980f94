"""A new setting is one line: help, kind, bounds and resume class follow from it."""
import contextlib, io
from dataclasses import asdict, dataclass

import pytest

from welllog_ocr.config import TrainingConfig, config_from_args, field_docs, load_config, recorded, resume_class
from welllog_ocr.core import ConfigError, stable_hash

@dataclass(frozen=True, kw_only=True)
class Mine(TrainingConfig):
    lookahead:float = recorded(.5, '[0, 1)', 'a share of the way; 0.5 is usual') # Share of the way to the slow weights; 0: off

@dataclass(frozen=True, kw_only=True)
class Bare(TrainingConfig):
    # Whether the moon counts
    moon:bool = False

def test_it_is_in_the_help_and_on_the_command_line():
    with pytest.raises(SystemExit), contextlib.redirect_stdout(out := io.StringIO()): config_from_args(['--help'], cls=Mine)
    text = ' '.join(out.getvalue().split())
    assert '--lookahead FLOAT' in text and 'Share of the way to the slow weights; 0: off [0.5]' in text and '--learning_rate FLOAT' in text
    assert config_from_args(['--lookahead', '0'], cls=Mine)[0].lookahead == 0.
    with pytest.raises(ConfigError, match="did you mean '--lookahead'"): config_from_args(['--lookahed', '0'], cls=Mine)

def test_its_bounds_and_kind_are_kept(tmp_path):
    with pytest.raises(ConfigError, match='lookahead=1.0: a share of the way'): Mine(lookahead=1)
    with pytest.raises(ConfigError, match='takes float'): Mine(lookahead='much')
    with pytest.raises(ConfigError, match='eval_steps=0.*lookahead=1.0'): Mine(lookahead=1, eval_steps=0) # all that is wrong at once
    (tmp_path/'a.json').write_text('{"lookahead": 0.25, "max_steps": 70}')
    assert (load_config(tmp_path/'a.json', Mine).lookahead, load_config(tmp_path/'a.json', Mine).max_steps) == (.25, 70)

def test_its_resume_class_is_known():
    assert resume_class('lookahead', Mine) == 'recorded' and resume_class('seed', Mine) == 'refused'
    assert (resume_class('moon', Bare), field_docs(Bare)['moon']) == ('refused', 'Whether the moon counts') # what says nothing is on the safe side

def test_every_setting_says_what_it_is():
    for name, doc in field_docs().items(): assert len(doc) > 12 and doc[0] == doc[0].upper(), name
    assert list(asdict(TrainingConfig()))[:3] == ['model_name', 'extra_characters', 'freeze'] # the order of --help and config.json

LATER = ('l2_sp', 'distill', 'extra_data', 'model_revision', 'report_to') # settings that 0.1.0 did not have

def test_the_defaults_are_those_of_0_1_0():
    old = {k: v for k, v in asdict(TrainingConfig()).items() if k not in LATER}
    assert stable_hash(old) == '30ea833fb11161a880eb93fadc9eb2dc5ee814de6798ace11e02a8a299b70541'
