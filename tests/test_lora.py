"""LoRA and QLoRA: killed and resumed, swapped and spoilt, saved and loaded by others. CI runs a share; `pytest -m soak` the full figures."""
import dataclasses, json, re, shutil, sys

import forked
import pytest
import torch
from conftest import ROOT
from runs import KINDS, adapted, make_vlm, quantised
from test_training_faults import At, Order

import welllog_ocr.models.vlm as chat
from welllog_ocr.run.checkpoint import CheckpointError, load, save, state_digest
from welllog_ocr.core import ConfigError, SetupError
from welllog_ocr.files import read_json, write_json
from welllog_ocr.run.samples import run_data
from welllog_ocr.models.core import load_model, load_recogniser
from welllog_ocr.run.state import capture, restore
from welllog_ocr.run.step import Run, frozen_hash
from welllog_ocr.draw.line import SynthLines
from welllog_ocr.train import fit

@pytest.fixture(scope='module')
def make(): return make_vlm # a tiny Qwen3-VL

def start(folder, kind, **changes):
    cfg = KINDS[kind][1](folder, **changes)
    cfg.run_dir.mkdir(parents=True, exist_ok=True)
    rec = load_model(cfg)
    return Run(cfg, rec, run_data(cfg, rec), [Order()])

# --- killed and resumed

@pytest.mark.parametrize('kind, n', [('qlora', 2), pytest.param('qlora', 20, marks=pytest.mark.soak), pytest.param('lora', 20, marks=pytest.mark.soak)])
def test_random_kills(kind, n, reliability):
    got = forked.run('runs', n, kind)
    assert got.returncode == 0, got.stderr[-3000:]
    found = json.loads(got.stdout.splitlines()[-1])
    assert found['kills'] >= n and found['bit_equal'] == found['runs']
    reliability(f'SIGKILL at a random time of a training with {kind}, resumed until done', found['kills'], found['kills'], f'{found["bit_equal"]} of {found["runs"]} runs')

@pytest.mark.parametrize('kind, steps', [('qlora', [3]), *(pytest.param(k, range(1, 8), marks=pytest.mark.soak) for k in ('lora', 'qlora'))])
def test_resume_grid(place, tmp_path, kind, steps, reliability):
    "From each step on, through the files of a checkpoint, with an evaluation on the way: the evaluation must not change the frozen weights"
    whole = start(place, kind)
    def judge(run): run.rec.eval(), run.rec.read(run.rec.collate(run.data.eval[:2]))
    whole.callbacks.append(At(2, judge))
    fit(whole)
    want = whole.callbacks[0].states
    assert any(t.dtype == torch.uint8 for n, t in want[4].optimizer.items() if n.endswith('|state1')) and any(t.dtype == torch.float32 for n, t in want[4].optimizer.items() if n.endswith('|state1'))
    for step in steps:
        run = start(place, kind)
        s = load(save(tmp_path, want[step], 'run'))
        assert s.part == 'adapter' and state_digest(s) == state_digest(want[step])
        torch.manual_seed(99)
        restore(run, s)
        assert state_digest(capture(run)) == state_digest(dataclasses.replace(want[step], state=capture(run).state)) # moments, scales and maps, bit by bit
        fit(run)
        got, end = (dataclasses.replace(x, state={**x.state, 'guests': {}}) for x in (run.callbacks[0].states[8], want[8])) # one guest fewer
        assert state_digest(got) == state_digest(end), step
    reliability(f'{kind}: resumed at a step, 8-bit moments and all', len(steps), len(steps), 'yes')

def test_other_devices_sum_the_frozen_weights_alike(place):
    "The order of a sum is a matter of the device; of integers it does not matter"
    a, b = (start(place, 'qlora').rec for _ in range(2))
    layer = next(m for m in b.modules() if type(m).__name__ == 'Linear4bit' and hasattr(m.weight, 'quant_state'))
    assert frozen_hash(a) == frozen_hash(b)
    layer.weight.quant_state.absmax[0] ^= 1 # a scale
    del b._frozen
    assert frozen_hash(a) != frozen_hash(b)

# --- the adapter in the model is the one that was saved

def test_another_adapter_is_refused(place, tmp_path, monkeypatch):
    a = start(place, 'lora')
    s = load(save(tmp_path, capture(a), 'run'))
    with pytest.raises(CheckpointError, match='it is of another model'): restore(start(place, 'lora', r=32), s)
    with pytest.raises(CheckpointError, match='not the model it was'): restore(start(place, 'qlora'), s)
    swapped = dataclasses.replace(s, model={n: t + 1 for n, t in s.model.items()})
    with pytest.raises(CheckpointError, match='bit by bit'): restore(a, swapped)
    b = start(place, 'lora')
    for p in b.rec.trainable().values(): p.data = p.data.bfloat16()
    with pytest.raises(CheckpointError, match='another precision'): restore(b, dataclasses.replace(s, model={n: t + .001 for n, t in s.model.items()}))

def test_files_swapped_between_checkpoints_are_seen(place, tmp_path):
    run = start(place, 'lora')
    fit(run)
    for step in (2, 4): save(tmp_path, run.callbacks[0].states[step], 'run')
    shutil.copy(tmp_path/'step-00000002'/'adapter.safetensors', tmp_path/'step-00000004'/'adapter.safetensors')
    with pytest.raises(CheckpointError, match='not what was written'): load(tmp_path/'step-00000004')

# --- set-ups that are wrong

def test_a_quantised_tower_is_refused(place, monkeypatch):
    "The name that matches nothing, and the name that is missing"
    row = chat.ARCHITECTURES['qwen3_vl']
    for vision, why in ((('visual',), "called 'model.visual'"), (('model.visual.merger',), None)):
        monkeypatch.setitem(chat.ARCHITECTURES, 'qwen3_vl', dataclasses.replace(row, vision=vision))
        if why:
            with pytest.raises(SetupError, match=why): load_recogniser(str(place/'model'), load_in_4bit=True)
        else: assert chat.count_4bit(load_recogniser(str(place/'model'), load_in_4bit=True).core, row.vision)['model.visual'] > 0 # what the audit shows
    monkeypatch.setitem(chat.ARCHITECTURES, 'qwen3_vl', row)
    assert chat.count_4bit(load_recogniser(str(place/'model'), load_in_4bit=True).core, row.vision)['model.visual'] == 0

@pytest.mark.parametrize('arch', [a if a in ('qwen3_vl', 'paddleocr_vl') else pytest.param(a, marks=pytest.mark.soak) for a in chat.ARCHITECTURES]) # the tower of PaddleOCR-VL has layers called q_proj too
def test_every_architecture(tmp_path, arch):
    "What is in 4 bits is what gets an adapter, each adapter gets a gradient, and the loss is the same with and without gradient checkpointing"
    if arch == 'smolvlm': pytest.importorskip('num2words', reason='the processor of SmolVLM asks for it')
    chat.tiny_chat(arch, min_pixels=1024, max_pixels=16384).save_pretrained(tmp_path)
    losses = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        rec = load_recogniser(str(tmp_path), load_in_4bit=True, r=4, gradient_checkpointing=checkpointing)
        row, linear = rec.arch, [n for n, m in rec.core.named_modules() if type(m).__name__ == 'Linear4bit' and hasattr(m, 'base_layer')]
        assert {k: n for k, n in chat.count_4bit(rec.core, rec.keep).items() if n} == {'the rest': len(linear)} and all(re.fullmatch(row.lora, n) for n in linear)
        for n, p in rec.trainable().items():
            if '.lora_B.' in n: torch.nn.init.constant_(p, .01)
        sums, n = rec.train().losses(rec.collate([s for s in SynthLines(30, 'lora') if len(s.text) < 24][:2]))
        (sums.sum()/n.sum()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in rec.trainable().values())
        losses.append(sums.detach())
    assert torch.equal(*losses)
    assert 'r=4' in str(rec.audit())

def test_transformers_that_ignores_the_list_is_found_out(place, monkeypatch):
    "The list is right, and what is loaded is not: the layers are counted, whoever is to blame"
    import transformers.integrations.bitsandbytes as integration
    monkeypatch.setattr(integration, 'should_convert_module', lambda name, patterns: name != 'lm_head')
    with pytest.raises(SetupError, match='linear layers of model.visual are in 4 bits'): load_recogniser(str(place/'model'), load_in_4bit=True)

@pytest.mark.parametrize('changes, error, why', [
    (dict(r=8), ConfigError, 'has r=64'), (dict(lora_alpha=32), ConfigError, 'has lora_alpha=16'), (dict(target_modules='q_proj'), ConfigError, 'its modules already'), (dict(r=0, load_in_4bit=False), ConfigError, 'r=0 asks for none'),
    (dict(target_modules='qq_proj'), ConfigError, "did you mean 'q_proj'"), (dict(target_modules='qkv'), ConfigError, 'only layers of model.visual')])
def test_settings_that_do_not_fit_the_adapter(place, tmp_path, changes, error, why):
    name = place/'model'
    if 'proj' not in why and 'visual' not in why: load_recogniser(str(name), r=64).save_pretrained(name := tmp_path/'adapter')
    with pytest.raises(error, match=why): load_model(adapted(place, model_name=str(name), output_dir=str(tmp_path/'runs'), **changes))

def test_an_adapter_is_trained_on_and_stays_one(place, tmp_path):
    first = load_recogniser(str(place/'model'), r=64)
    for p in first.trainable().values(): torch.nn.init.normal_(p, std=.1)
    first.save_pretrained(tmp_path/'adapter')
    rec = load_model(adapted(place, model_name=str(tmp_path/'adapter')))
    assert {n: tuple(p.shape) for n, p in rec.trainable().items()} == {n: tuple(p.shape) for n, p in first.trainable().items()}
    assert all(torch.equal(p, rec.trainable()[n]) for n, p in first.trainable().items())
    rec.save_pretrained(tmp_path/'again')
    assert read_json(tmp_path/'again'/'adapter_config.json')['base_model_name_or_path'] == str(place/'model')

def test_bitsandbytes_is_an_extra(place, monkeypatch):
    monkeypatch.setitem(sys.modules, 'bitsandbytes', None)
    import welllog_ocr.models.lora as adapter
    adapter.check_4bit.cache_clear(), adapter.adamw_8bit.cache_clear()
    try:
        with pytest.raises(SetupError, match=r'welllog_ocr\[qlora\]'): load_recogniser(str(place/'model'), load_in_4bit=True)
        with pytest.raises(SetupError, match=r'welllog_ocr\[qlora\]'): adapter.adamw_8bit(torch.device('cpu'))
    finally: adapter.check_4bit.cache_clear(), adapter.adamw_8bit.cache_clear()

# --- what others load

@pytest.mark.parametrize('four', [False, True])
def test_plain_peft_and_transformers_load_it(place, tmp_path, four):
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from welllog_ocr.merge import merge
    rec = load_recogniser(str(place/'model'), r=8, load_in_4bit=four)
    for p in rec.trainable().values(): torch.nn.init.normal_(p, std=.1)
    rec.save_pretrained(tmp_path/'final')
    batch = rec.collate(run_data(adapted(place, output_dir=str(tmp_path)), rec).eval[:2])
    def logits(model):
        with torch.no_grad(): return model(input_ids=batch['ids'], attention_mask=batch['mask'], **batch['types'], **batch['pixels']).logits.float()
    want = logits(rec.core)
    again = load_recogniser(str(tmp_path/'final'))
    assert again.in_4bit == four and torch.equal(logits(again.core), want)
    assert AutoProcessor.from_pretrained(tmp_path/'final').apply_chat_template([dict(role='user', content=[dict(type='text', text='x')])]) # with its template
    full = load_recogniser(str(tmp_path/'final'), load_in_4bit=False)
    plain = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(place/'model'), tmp_path/'final')
    by_transformers = AutoModelForImageTextToText.from_pretrained(tmp_path/'final')
    for model in (plain, by_transformers): assert torch.equal(logits(model.eval()), logits(full.core))
    merged = AutoModelForImageTextToText.from_pretrained(merge(tmp_path/'final', tmp_path/'merged'))
    assert torch.allclose(logits(merged.eval()), logits(full.core), atol=1e-4) and not load_recogniser(str(tmp_path/'merged')).in_4bit

def test_outputs_are_held_for_line_recognisers_alone(place, tmp_path):
    with pytest.raises(ConfigError, match='only line recognisers.*set l2_sp instead'): load_model(adapted(place, output_dir=str(tmp_path), distill=1.))

def test_a_base_that_is_gone(place, tmp_path):
    shutil.copytree(place/'model', tmp_path/'base')
    load_recogniser(str(tmp_path/'base'), r=8).save_pretrained(tmp_path/'final')
    shutil.rmtree(tmp_path/'base')
    with pytest.raises(SetupError, match='which is not there; put that folder back'): load_recogniser(str(tmp_path/'final'))

def test_the_command_of_the_recipe(place, tmp_path):
    "From preflight to the final adapter: the recipe, made small"
    recipe, small = ROOT/'configs'/'experiments'/'qwen3_qlora_r16.py', dict(synth_kind='line', synth_lines=8, synth_eval_lines=2, max_steps=2, eval_steps=2, save_steps=2, warmup_steps=1, min_pixels=1024, max_pixels=16384,
                                                                            max_new_tokens=4, gradient_accumulation_steps=2, output_dir=tmp_path/'runs', experiment_name='q')
    if not recipe.exists(): write_json(recipe := tmp_path/'recipe.json', dataclasses.asdict(quantised(place, preflight=True)))
    got = forked.run('welllog_ocr.train', '--config', recipe, '--model_name', place/'model', *(w for k, v in small.items() for w in (f'--{k}', v)))
    assert got.returncode == 0, got.stderr[-3000:]
    run = tmp_path/'runs'/'q'
    assert sorted(p.name for p in (run/'checkpoints'/'step-00000002').iterdir()) == ['adapter.safetensors', 'manifest.json', 'optimizer.safetensors', 'state.json']
    trained = {n for n in load(run/'checkpoints'/'step-00000002').model}
    assert trained and all('.lora_' in n for n in trained) # and not the model
    assert load_recogniser(str(run/'final')).in_4bit and (run/'final'/'adapter_model.safetensors').is_file()
