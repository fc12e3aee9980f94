"""TrOCR and Donut through the whole loop, on tiny models"""
import json
from dataclasses import replace

import pytest
import torch
from runs import outcome, tiny

from welllog_ocr.core import SetupError
from welllog_ocr.files import read_jsonl
from welllog_ocr.run.samples import run_data
from welllog_ocr.eval.predictions import evaluate
from welllog_ocr.run.callbacks import Callback
from welllog_ocr.models.core import load_recogniser
from welllog_ocr.models.seq2seq import tiny_seq2seq
from welllog_ocr.preflight import preflight
from welllog_ocr.draw.line import SynthLines
from welllog_ocr.train import train

@pytest.fixture(scope='module', params=['trocr', 'donut'])
def make(request): return lambda folder: tiny_seq2seq(request.param).save_pretrained(folder/'model')

class Leave(Callback):
    def after_step(self, run):
        if run.step == 4: raise KeyboardInterrupt

def config(home, **changes): return tiny(home, **{**dict(extra_characters='°½', max_steps=8, eval_steps=4, save_steps=2, synth_lines=16), **changes})

def test_a_whole_run_and_a_resumed_one(home, capsys):
    whole = train(config(home, experiment_name='whole'))
    train(config(home), [Leave()])
    assert read_jsonl(home/'runs'/'x'/'events.jsonl')[-1]['event'] == 'stopped'
    assert outcome(train(config(home))) == outcome(whole)
    rows = [r for r in read_jsonl(whole/'metrics.jsonl') if r['split'] == 'eval']
    assert [r['step'] for r in rows] == [0, 4, 8] and rows[-1]['loss'] < rows[0]['loss']
    rec = load_recogniser(str(whole/'final'))
    assert 10 < rec.limit < rec.longest and rec._text(rec._tokens('8½')) == '8½'
    again = evaluate(rec, run_data(config(home), rec).eval, 4, bf16=False) # final/ is what was evaluated last
    assert [{k: r[k] for k in ('loss', 'prediction')} for r in again] == [{k: r[k] for k in ('loss', 'prediction')} for r in read_jsonl(whole/'eval'/'step-00000008.jsonl')]

def test_preflight_asks_all(home):
    found = preflight(config(home, preflight=True))
    assert not found.failures and found.rehearsal, str(found)
    assert 'no adapter' in str(preflight(config(home, r=8)).failures[0])

def test_a_loss_does_not_depend_on_the_batch(place):
    rec, samples = load_recogniser(str(place/'model'), extra_characters='°½'), [s for s in SynthLines(12, 'batch')]
    samples = [s for s in samples if not rec.refuses(s)]
    assert len(samples) > 8
    with torch.no_grad():
        together, n = rec.losses(rec.collate(samples))
        assert n.tolist() == [len(rec._tokens(s.text)) for s in samples]
        alone = torch.cat([rec.losses(rec.collate([s]))[0] for s in samples])
    assert torch.allclose(together, alone, atol=1e-3)
    assert [p.text for p in rec.transcribe(rec.collate(samples))] == [rec.transcribe(rec.collate([s]))[0].text for s in samples]

def test_the_loss_of_each_token(place):
    rec = load_recogniser(str(place/'model'), extra_characters='°½')
    rec.limit = 3
    sample = next(s for s in SynthLines(12, 'batch') if not rec.refuses(s))
    samples = [replace(sample, text=t) for t in ('KB 912', 'A ½ B°', '8"', '9'*500)]
    sums, tokens, preds = rec.read(rec.collate(samples))
    assert [sum(p.losses) for p in preds[:3]] == pytest.approx(sums[:3].tolist(), abs=1e-4)
    assert [len(p.losses) for p in preds[:3]] == [len(p.pieces) for p in preds[:3]] == tokens[:3].tolist()
    assert [''.join(p.pieces) for p in preds[:3]] == [s.text for s in samples[:3]] and {p.pieces[-1] for p in preds[:3]} == {''}
    assert sums[3].isinf() and preds[3].losses == preds[3].pieces == () # it is refused, so that nothing is known of its tokens

def test_checkpointing_gives_the_same_gradients(place):
    grads = []
    for keep in (False, True):
        rec = load_recogniser(str(place/'model'), gradient_checkpointing=keep).train()
        rec.losses(rec.collate([s for s in SynthLines(8, 'batch') if not rec.refuses(s)][:2]))[0].sum().backward()
        grads.append({n: p.grad for n, p in rec.trainable().items() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys() and all(torch.equal(grads[0][n], grads[1][n]) for n in grads[0])

def damage(folder, file, change):
    facts = json.loads((folder/file).read_text())
    change(facts)
    (folder/file).write_text(json.dumps(facts))

def no_end(c): c.pop('eos_token_id'), c['decoder'].update(eos_token_id=None)
def other_writer(c): c.update(decoder=dict(model_type='bert', vocab_size=300))
def other_size(c): c['image_processor'].update(size=dict(height=48, width=64))

@pytest.mark.parametrize('file,change,said', [('config.json', no_end, 'says no eos_token_id'), ('config.json', other_writer, "lacks|decoder is a 'bert'|cannot be loaded"),
                                              ('tokenizer.json', lambda t: t['added_tokens'].append(dict(t['added_tokens'][-1], id=4000, content='more')), 'tokens and its decoder')])
def test_damaged_folders(home, file, change, said):
    damage(home/'model', file, change)
    (home/'model'/'generation_config.json').unlink()
    with pytest.raises(SetupError, match=said): load_recogniser(str(home/'model'))

def test_an_image_size_the_encoder_does_not_take(tmp_path):
    tiny_seq2seq('trocr').save_pretrained(tmp_path)
    damage(tmp_path, 'processor_config.json', other_size)
    with pytest.raises(SetupError, match='images of 48 x 64 pixels'): load_recogniser(str(tmp_path))
