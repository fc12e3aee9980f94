"""Estimated against measured memory, and preflight before a download"""
import json, sys
from pathlib import Path

import forked
import pytest
import torch
from conftest import ROOT

from welllog_ocr.config import TrainingConfig, load_config
from welllog_ocr.core import SetupError
from welllog_ocr.run.memory import SIZES, FakeMemory, fake_recogniser
from welllog_ocr.preflight import preflight

sys.path.insert(0, str(ROOT/'bench'))
import memory_estimate as bench

CI = ('Donut, whole, bfloat16, two parts', 'Qwen3-VL, QLoRA, 8-bit Adam, recomputed')

@pytest.mark.parametrize('name', [n if n in CI else pytest.param(n, marks=pytest.mark.soak) for n in bench.RUNS])
def test_an_estimate_is_what_is_measured(name, tmp_path):
    "In a process of its own, where no tensor of another test comes or goes while it is measured"
    def work():
        kind, settings = bench.RUNS[name]
        bench.make(kind, Path('model'))
        cfg = TrainingConfig(model_name='model', **settings)
        m = bench.estimate(cfg, card=False)
        print('RESULT', json.dumps([m.training, m.fixed + m.reading, *bench.measured(cfg)]))
    done = forked.call(work, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    training, reading, trains, reads = json.loads(next(l for l in done.stdout.splitlines() if l.startswith('RESULT'))[7:])
    assert .95 < training/trains < 1.15
    assert .95 < reading/reads < 1.15

def test_fake_tensors_take_no_memory():
    with FakeMemory() as memory:
        big = torch.nn.Linear(2**20, 2**20, bias=False) # 4 TB
        out = big(torch.zeros(2, 2**20)).sum()
        out.backward()
    assert memory.now > 2*4*2**40 and big.weight.grad.shape == big.weight.shape

@pytest.mark.parametrize('name,weights', [('Qwen/Qwen3-VL-2B-Instruct', 2_127_532_032), ('microsoft/trocr-small-printed', 61_596_672)])
def test_the_table_has_the_sizes_of_published_models(name, weights):
    rec = fake_recogniser(TrainingConfig(model_name=name), FakeMemory())
    assert sum(p.numel() for p in rec.parameters()) == weights

def test_every_experiment_names_a_model_whose_size_is_known():
    for path in (ROOT/'configs'/'experiments').glob('*.py'):
        cfg = load_config(path)
        assert cfg.model_name in SIZES or cfg.model_name == 'PP-OCRv6-small', path.name
        assert cfg.experiment_name == path.stem and not cfg.freeze*(cfg.model_name in SIZES)

def test_preflight_before_a_download(tmp_path, monkeypatch):
    monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path/'hub'))
    cfg = load_config(ROOT/'configs'/'experiments'/'trocr_small.py').replace(output_dir=str(tmp_path/'runs'), per_device_train_batch_size=2, per_device_eval_batch_size=2)
    found = preflight(cfg, env={}, proc=tmp_path)
    by_name = {c.name: c for c in found.checks}
    assert by_name['estimate'].verdict == 'ok' and '24 GB fits' in by_name['estimate'].seen
    assert by_name['model'].verdict == 'failure' and 'microsoft/trocr-small-printed' in by_name['model'].seen
    assert by_name['untried'].verdict == 'warning' and {'device', 'volume', 'output', 'sigterm'} <= by_name.keys()
    small = preflight(cfg, env={}, proc=tmp_path, machine=type(found.machine)('cuda', 'small', 1e9, 5e8, True, 1, 1, 1e9, 1))
    assert [c.name for c in small.failures] == ['estimate'] and 'was not downloaded' in str(small)
    with pytest.raises(SetupError): found.insist()
