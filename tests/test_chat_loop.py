"""Vision-language models through the trainer as it is: trained, evaluated, saved, interrupted, resumed, and read with."""
import pytest
import torch

import welllog_ocr.train as trainer
from welllog_ocr.run.checkpoint import checkpoints, load, state_digest
from welllog_ocr.config import TrainingConfig
from welllog_ocr.files import read_jsonl
from welllog_ocr.models.architectures import ARCHITECTURES
from welllog_ocr.models.vlm import tiny_chat
from welllog_ocr.models.core import load_recogniser
from welllog_ocr.draw.line import SynthLines
from test_chat import stand_in # SmolVLM's processor

def config(folder, **changes):
    return TrainingConfig(**dict(model_name=str(folder/'model'), output_dir=str(folder/'runs'), synth_lines=12, synth_eval_lines=3, language_texts=4, max_steps=4, preflight=False, per_device_train_batch_size=3,
                                 per_device_eval_batch_size=3, warmup_steps=1, learning_rate=1e-3, eval_steps=2, save_steps=2, bf16=False, min_pixels=1024, max_pixels=8192, instruction='Read.', max_new_tokens=8) | changes)

def through_the_loop(name, folder, monkeypatch):
    tiny_chat(name).save_pretrained(folder/'model')
    whole = trainer.train(config(folder, experiment_name='whole'))
    inner, done = trainer.train_step, []
    def step(run, micro):
        if len(done) == 3: raise KeyboardInterrupt
        done.append(run.step)
        return inner(run, micro)
    with monkeypatch.context() as m:
        m.setattr(trainer, 'train_step', step)
        trainer.train(config(folder, experiment_name='cut'))
    cut = trainer.train(config(folder, experiment_name='cut'))
    assert 'resume' in ' '.join(e['event'] if 'event' in e else str(e) for e in read_jsonl(cut/'events.jsonl'))
    last = [state_digest(load(run/'checkpoints'/f"step-{max(checkpoints(run/'checkpoints')):08}")) for run in (whole, cut)]
    assert last[0] == last[1], 'an interrupted training ended elsewhere'
    rec, lines = load_recogniser(str(cut/'final')), list(SynthLines(2, 'loop'))
    assert rec.generation.instruction == 'Read.' and rec.generation.max_pixels == 8192
    assert len(rec.transcribe(rec.collate(lines))) == 2
    first = load_recogniser(str(folder/'model'), min_pixels=1024, max_pixels=8192, instruction='Read.')
    with torch.no_grad(): assert float(rec.losses(rec.collate(lines))[0].sum()) < float(first.losses(first.collate(lines))[0].sum()), 'nothing was learned'

@pytest.mark.parametrize('name', ['qwen3_vl'])
def test_the_loop(name, tmp_path, monkeypatch): through_the_loop(name, tmp_path, monkeypatch)

@pytest.mark.soak
@pytest.mark.parametrize('name', [n for n in ARCHITECTURES if n != 'qwen3_vl'])
def test_the_loop_with(name, tmp_path, monkeypatch, reliability):
    through_the_loop(name, tmp_path, monkeypatch)
    reliability(f'a training of {name} cut off and resumed', 1, 1, 'yes')
