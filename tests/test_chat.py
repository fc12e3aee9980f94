"""Vision-language models: every architecture through the same gate, planted mistakes, and bad input."""
import random, warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from welllog_ocr.config import TrainingConfig
from welllog_ocr.core import DataError, SetupError
from welllog_ocr.data.sample import Sample
from welllog_ocr.eval.predictions import evaluate
from welllog_ocr.models.decoding import IGNORE, GenerationWatch
from welllog_ocr.models.architectures import ARCHITECTURES
from welllog_ocr.models.vlm import ChatRecogniser, tiny_chat
from welllog_ocr.models.core import FAMILIES, load_recogniser
from welllog_ocr.models.tiny import TINY
from welllog_ocr.review.page import strip_html
from welllog_ocr.draw.line import SynthLines

LINES = [s for s in SynthLines(80, 'test-chat') if len(s.text) < 24][:4]

@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    "SmolVLM's processor insists on num2words, which it needs for films alone"
    import transformers.models.smolvlm.processing_smolvlm as smol
    monkeypatch.setattr(smol, 'num2words', smol.num2words or str)

@pytest.fixture(scope='module')
def rec(): return tiny_chat()

def blank(w:int, h:int, text='KB', **info): return Sample(f'{w}x{h}', text, lambda: Image.new('L', (w, h), 200), (w, h), '', info=info)

def sharpened(rec):
    "Weights large enough that what is written depends on everything"
    with torch.no_grad():
        for p in rec.parameters():
            if p.ndim > 1: p.mul_(4)
    return rec

def same(found, wanted):
    "The same texts, with the same probabilities but for rounding"
    assert [p.text for p in found] == [p.text for p in wanted]
    for p, q in zip(found, wanted): assert np.allclose(p.scores, q.scores, atol=1e-3)

def test_tables_agree():
    assert set(ARCHITECTURES) == set(TINY) == {kind for kind, (chapter, _) in FAMILIES.items() if chapter == 'vlm'}

@pytest.mark.parametrize('name', ARCHITECTURES)
def test_an_architecture(name, tmp_path):
    rec = sharpened(tiny_chat(name, max_new_tokens=12))
    batch = rec.collate(LINES)
    assert [rec.cost(s) for s in LINES] == batch['mask'].sum(1).tolist(), 'the cost of a sample is not its tokens'
    with torch.no_grad(): sums, counts = rec.losses(batch)
    with torch.no_grad(): theirs = rec.core(input_ids=batch['ids'], attention_mask=batch['mask'], labels=batch['targets'], **batch['types'], **batch['pixels']).loss
    assert abs(float(sums.sum()/counts.sum() - theirs)) < 1e-5*max(1, float(theirs))
    with torch.no_grad(): alone = torch.cat([rec.losses(rec.collate([s]))[0] for s in LINES])
    assert torch.allclose(sums, alone, rtol=1e-5), 'a loss depends on the batch'
    preds = rec.transcribe(batch)
    same(preds, [p for s in LINES for p in rec.transcribe(rec.collate([s]))])
    assert len({p.scores for p in preds}) == len(LINES), 'the images make no difference'
    rec.save_pretrained(tmp_path/'m')
    again = load_recogniser(str(tmp_path/'m'))
    assert type(again) is ChatRecogniser and again.generation == rec.generation
    with torch.no_grad(): assert torch.equal(again.losses(again.collate(LINES))[0], sums)
    assert again.transcribe(again.collate(LINES)) == preds
    rec.train()
    rec.losses(batch)[0].sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for n, p in rec.trainable().items() if 'post_layernorm' not in n)

def sizes(n:int, seed:int)->list:
    r = random.Random(seed)
    return [(1, 1), (1, 3000), (3000, 1), (31, 33), (6000, 30), *((int(2**r.uniform(0, 11)), int(2**r.uniform(0, 11))) for _ in range(n))]

def check_sizes(name, n, seed):
    "The arithmetic of tokens and the real processor, on images of all shapes and several budgets"
    for low, high in ((1024, 16*1024), (16*1024, 64*1024), (1024, 4*1024*1024)):
        rec = tiny_chat(name, min_pixels=low, max_pixels=high)
        for size in sizes(n, seed):
            batch = rec.collate([blank(*size)])
            assert rec.cost(blank(*size)) == batch['ids'].shape[1], f'{size} with {low} to {high}'
            (w, h), how = rec.arch.sizing.resized(rec.processor, rec.canvas(size))
            if 'image_grid_thw' in how and max(size) < 20*min(size): assert w*h <= high, f'{size} is seen as {w}x{h}'

@pytest.mark.parametrize('name', ARCHITECTURES)
def test_sizes(name): check_sizes(name, 3, 1)

@pytest.mark.soak
@pytest.mark.parametrize('name', ARCHITECTURES)
def test_many_sizes(name): check_sizes(name, 80, 2)

# Mistakes that were made elsewhere, planted

def learned(rec, batch): return [rec.tok.decode([t for t in row if t != IGNORE]) for row in batch['targets'].tolist()]

def test_only_the_answer_is_learned_and_its_end(rec):
    batch = rec.collate(LINES)
    assert learned(rec, batch) == [s.text + '<|im_end|>' for s in LINES]
    for ids, targets, n in zip(batch['ids'].tolist(), batch['targets'].tolist(), batch['prompt'].tolist()):
        assert set(targets[:n]) == {IGNORE} and targets[n:n + 1] == ids[n:n + 1]
        assert rec.tok.decode(ids[:n]).endswith('<|im_start|>assistant\n')

def test_a_learned_prompt_would_show(rec):
    "The loss with the prompt in it is another one, so that the equality above can fail"
    batch = rec.collate(LINES)
    wrong = batch | dict(targets=torch.where(batch['mask'] == 1, batch['ids'], IGNORE))
    with torch.no_grad(): assert not torch.allclose(rec.losses(wrong)[0], rec.losses(batch)[0], rtol=.1)

@pytest.mark.parametrize('template, why', [
    ('', 'no chat template'),
    ("{% for m in messages if m.role == 'user' %}<|vision_start|><|image_pad|><|vision_end|>{{ m.content[1].text }}{% endfor %}", "assistant's turn"),
    ("{% for m in messages %}{{ m.role }}: {% for c in m.content if c.type == 'text' %}{{ c.text }}{% endfor %}<|im_end|>{% endfor %}", '0 times'),
    ("{% for m in messages %}{% for c in m.content %}{{ '<|image_pad|><|image_pad|>' if c.type == 'image' else c.text }}{% endfor %}<|im_end|>{% endfor %}", '2 times'),
    ("{% for m in messages %}{{ m.role }}: {% for c in m.content %}{{ '<|image_pad|>' if c.type == 'image' else c.text }}{% endfor %}\n{% endfor %}", 'learn to stop')])
def test_templates_that_cannot_be_used(rec, template, why, tmp_path):
    rec.save_pretrained(tmp_path)
    (tmp_path/'chat_template.jinja').write_text(template) if template else (tmp_path/'chat_template.jinja').unlink()
    with pytest.raises(SetupError, match=why): load_recogniser(str(tmp_path))

def test_a_template_that_does_not_open_the_answer(rec, tmp_path):
    "What it leaves out of the question is put there, and not learned"
    rec.save_pretrained(tmp_path)
    path = tmp_path/'chat_template.jinja'
    path.write_text(path.read_text().split('{% if add_generation_prompt %}')[0])
    again = load_recogniser(str(tmp_path))
    assert again.rest == '<|im_start|>assistant\n' and again.lead == ''
    assert torch.equal(again.collate(LINES)['ids'], rec.collate(LINES)['ids'])

class Cut:
    "A processor that loses the last image token"
    def __init__(self, inner): self.inner = inner
    def __getattr__(self, name): return getattr(self.inner, name)
    def __call__(self, **kw):
        made = self.inner(**kw)
        made['input_ids'][tuple((made['input_ids'] == self.inner.image_token_id).nonzero()[-1])] = 0
        return made

def test_cut_image_tokens_are_an_error():
    rec = tiny_chat()
    rec.processor = Cut(rec.processor)
    with pytest.raises(DataError, match='image tokens and its prompt has'): rec.collate(LINES)

def test_generation_fills_up_at_the_left():
    "Filled up at the right, as is usual in training, the same model writes other texts"
    rec = sharpened(tiny_chat(max_new_tokens=8))
    samples = [replace(LINES[0], info=dict(instruction='Read.')), replace(LINES[1], info=dict(instruction='Read this line, please, and all of it.'))]
    batch, seen = rec.collate(samples), []
    inner = rec.core.generate
    rec.core.generate = lambda **kw: seen.append(kw) or inner(**kw)
    preds = rec.transcribe(batch)
    assert seen[0]['attention_mask'][:, -1].all() and not seen[0]['attention_mask'][:, 0].all()
    same(preds, [rec.transcribe(rec.collate([s]))[0] for s in samples])
    n = max(batch['prompt'].tolist())
    ids, mask, watch = batch['ids'][:, :n].clone(), (torch.arange(n) < batch['prompt'][:, None]).long(), GenerationWatch(2, 0, n)
    ids[mask == 0] = rec.tok.pad_token_id
    inner(input_ids=ids, attention_mask=mask, mm_token_type_ids=batch['types']['mm_token_type_ids'][:, :n]*mask, **batch['pixels'], max_new_tokens=8, do_sample=False, eos_token_id=rec.ends(), logits_processor=[watch])
    wrong = watch.probabilities()
    assert abs(wrong[1][0] - preds[1].scores[0]) < 1e-3 < abs(wrong[0][0] - preds[0].scores[0]), 'the longer prompt is right either way, the shorter is not'

class Timed(GenerationWatch):
    "Has each text end after as many tokens as `after` says"
    def __call__(self, ids, scores):
        scores = super().__call__(ids, scores).clone()
        for k, i in enumerate(self.rows):
            if ids.shape[1] - self.start == self.after[i]: scores[k, self.end] = 1e4
        return scores

@pytest.mark.parametrize('name', ARCHITECTURES)
def test_texts_that_end_at_different_times(name, monkeypatch):
    "Those that have ended are left out, and nothing of the others changes"
    rec, sizes = sharpened(tiny_chat(name, max_new_tokens=24)), []
    samples, inner = [blank(40 + 30*i, 24 + 3*i) for i in range(4)] + LINES[:3], rec.core.generate
    monkeypatch.setattr('welllog_ocr.models.vlm.GenerationWatch', Timed)
    rec.core.generate = lambda **kw: sizes.append(len(kw['input_ids'])) or inner(**kw)
    def read(after, samples):
        monkeypatch.setattr(Timed, 'after', after, raising=False)
        return rec.transcribe(rec.collate(samples))
    after = [5, 17, 2, 99, 9, 12, 5]
    together = read(after, samples)
    assert sizes == [7, 3, 1] and [len(p.scores) for p in together] == [min(n, 24) for n in after]
    same(together, [read([n], [s])[0] for n, s in zip(after, samples)])
    assert len({p.scores[0] for p in together}) > 2, 'the texts differ, so that a row taken for another would show'

def test_what_a_published_model_wants_for_conversation_is_not_used():
    rec = sharpened(tiny_chat(max_new_tokens=12))
    batch = rec.collate(LINES)
    want = rec.transcribe(batch)
    for name, value in dict(do_sample=True, temperature=.7, top_p=.8, top_k=3, repetition_penalty=3.).items(): setattr(rec.core.generation_config, name, value)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        same(rec.transcribe(batch), want)

# Bad input

@pytest.mark.parametrize('size', [(1, 1), (20_000, 48), (48, 20_000), (20_000, 1), (3, 5)])
def test_odd_shapes_are_read(rec, size):
    rec.generation = replace(rec.generation, max_new_tokens=4)
    rows = evaluate(rec, [blank(*size), LINES[0]], bf16=False)
    assert np.isfinite([r['loss'] for r in rows]).all()

def test_too_long_is_refused_with_the_number_that_fits():
    rec, long = tiny_chat(max_seq_length=150), replace(LINES[0], text='KB 912 '*100)
    need = rec.cost(long)
    assert f'raise max_seq_length to {need}' in rec.refuses(long)
    rec.generation = replace(rec.generation, max_seq_length=need)
    assert rec.refuses(long) == ''
    rec.generation = replace(rec.generation, max_seq_length=need - 1)
    assert rec.refuses(long)
    assert rec.collate([long])['ids'].shape[1] == need, 'something was cut'

def test_control_words_in_texts_and_questions(rec):
    bad = replace(LINES[0], text='LOG <|im_end|><|image_pad|> DATE', info=dict(instruction='<|im_end|> <|image_pad|>Read.'))
    batch = rec.collate([bad])
    assert rec.refuses(bad) == '' and learned(rec, batch) == ['LOG <|im_end|><|image_pad|> DATE<|im_end|>']
    assert batch['targets'][0].tolist().count(rec.tok.convert_tokens_to_ids('<|im_end|>')) == 1
    assert batch['ids'][0].tolist().count(rec.processor.image_token_id) == rec.image_tokens(bad.size)

def test_texts_that_nobody_expects(rec):
    texts = ['', '\n', '\n\nKB', ' KB ', '½′″°', 'é', '日本', '👍', '\t|', 'x'*500]
    samples = [replace(LINES[0], text=t) for t in texts]
    assert [rec.refuses(s) for s in samples] == ['']*len(texts)
    batch = rec.collate(samples)
    assert learned(rec, batch) == [t + '<|im_end|>' for t in texts]
    assert len({tuple(row[:n]) for row, n in zip(batch['ids'].tolist(), batch['prompt'].tolist())}) == 1, 'an answer changed the tokens of its prompt'

def test_a_text_the_tokenizer_cannot_write(rec, monkeypatch):
    monkeypatch.setattr(ChatRecogniser, 'answer_ids', lambda self, text: [*self.tok(text.replace('½', '?'))['input_ids'], 0])
    assert "turns into '912?'" in rec.refuses(replace(LINES[0], text='912½'))

def test_question_of_the_row_before_that_of_the_config():
    rec = tiny_chat(instruction='Read it.')
    assert [rec.question(s) for s in (LINES[0], replace(LINES[0], info=dict(instruction='What?')))] == ['Read it.', 'What?']
    assert 'HTML' in tiny_chat().question(replace(LINES[0], kind='page'))

def test_the_budget_is_kept_with_the_model(tmp_path):
    "By our own loading, and by plain transformers"
    from transformers import AutoModelForImageTextToText, AutoProcessor
    rec = tiny_chat(min_pixels=2048, max_pixels=8192, instruction='Read.', max_seq_length=300)
    rec.save_pretrained(tmp_path)
    again, plain = load_recogniser(str(tmp_path)), AutoProcessor.from_pretrained(tmp_path)
    assert again.generation == rec.generation and again.seen((900, 100)) == rec.seen((900, 100))
    line = next(s for s in SynthLines(60, 'test-chat') if s.size[1] >= 32)
    assert torch.equal(plain(text=[rec.prompt(line)[0]], images=[[line.image.convert('RGB')]], return_tensors='pt')['pixel_values'], rec.collate([line])['pixels']['pixel_values'])
    assert AutoModelForImageTextToText.from_pretrained(tmp_path).config.model_type == 'qwen3_vl'
    other = load_recogniser(str(tmp_path), **ChatRecogniser.options(TrainingConfig()))
    assert other.generation.max_pixels == TrainingConfig().max_pixels and other.seen((4000, 4000)) != rec.seen((4000, 4000))

@pytest.fixture
def folder(rec, tmp_path):
    rec.core.save_pretrained(tmp_path/'m', max_shard_size='100KB')
    rec.processor.save_pretrained(tmp_path/'m')
    return tmp_path/'m'

@pytest.mark.parametrize('gone, why', [('model-00002*', 'weights cannot be loaded'), ('processor_config.json', 'processor cannot be loaded|no image token'), ('tokenizer.json', 'processor cannot be loaded'), ('config.json', 'config.json')])
def test_a_folder_with_something_missing(folder, gone, why):
    found = list(folder.glob(gone))
    assert found
    for p in found: p.unlink()
    with pytest.raises(SetupError, match=why): load_recogniser(str(folder))

def test_a_shard_that_was_cut_off(folder):
    p = sorted(folder.glob('*.safetensors'))[0]
    p.write_bytes(p.read_bytes()[:-100])
    with pytest.raises(SetupError, match='weights cannot be loaded'): load_recogniser(str(folder))

def test_weights_that_the_index_does_not_know(folder):
    from safetensors.torch import load_file, save_file
    for p in folder.glob('model-*'): save_file({k: v for k, v in load_file(p).items() if 'mlp.down_proj' not in k}, p, metadata=dict(format='pt'))
    with pytest.raises(SetupError, match='lacks'): load_recogniser(str(folder))

def test_a_package_that_its_processor_needs(monkeypatch, tmp_path):
    import transformers.models.smolvlm.processing_smolvlm as smol
    tiny_chat('smolvlm').save_pretrained(tmp_path)
    monkeypatch.setattr(smol, 'num2words', None)
    with pytest.raises(SetupError, match=r'welllog_ocr\[smolvlm\]'): load_recogniser(str(tmp_path))

# Where the label surprises

@pytest.mark.parametrize('name', ARCHITECTURES)
def test_the_loss_of_each_token(name):
    "From the pass that gives the sums; joined, the pieces are the label"
    rec = sharpened(tiny_chat(name, max_new_tokens=3))
    samples = [replace(LINES[0], text=t) for t in ('KB 912', ' 8½″ ', '日本 👍\n\tKB', '')]
    passes, inner = [], rec._each
    rec._each = lambda batch: passes.append(1) or inner(batch)
    sums, counts, preds = rec.read(batch := rec.collate(samples))
    assert len(passes) == 1 and preds[0].scores == rec.transcribe(batch)[0].scores
    assert [sum(p.losses) for p in preds] == pytest.approx(sums.tolist(), abs=1e-4)
    assert [len(p.losses) for p in preds] == [len(p.pieces) for p in preds] == counts.tolist()
    assert [''.join(p.pieces) for p in preds] == [s.text for s in samples] and {p.pieces[-1] for p in preds} == {''}
    with torch.no_grad(): scores = rec.core(input_ids=batch['ids'], attention_mask=batch['mask'], **batch['types'], **batch['pixels']).logits
    n = batch['prompt'][0] # the loss of the first token, in the plain way
    assert preds[0].losses[0] == pytest.approx(-scores[0, n - 1].log_softmax(-1)[batch['ids'][0, n]].item(), abs=1e-4)

def test_an_evaluation_knows_the_tokens(rec):
    row, = evaluate(rec, [replace(LINES[0], text='KB ½')], bf16=False)
    assert ''.join(row['pieces']) == 'KB ½' and len(row['losses']) == len(row['pieces']) == row['n_tokens'] and row['loss_max'] == max(row['losses'])
    assert strip_html(row).startswith('<div class="strip">') and 'highest losses' in strip_html(row)

# Limits of writing

def test_a_loop_is_ended_and_told():
    rec = tiny_chat(max_new_tokens=400)
    with torch.no_grad(): # always the same token
        rec.core.lm_head.weight.zero_()
        for p in rec.core.model.language_model.norm.parameters(): p.fill_(1)
    pred, = rec.transcribe(rec.collate(LINES[:1]))
    assert pred.confidence == 0 and len(pred.scores) == 1

def test_the_limit_comes_from_the_texts_unless_it_is_set():
    rec = tiny_chat()
    rec.fit_language(['KB', 'x'*39])
    assert rec.generation.max_new_tokens == 50
    fixed = tiny_chat(max_new_tokens=7)
    fixed.fit_language(['x'*100])
    assert fixed.generation.max_new_tokens == 7
    pred = fixed.transcribe(fixed.collate(LINES[:1]))[0]
    assert len(pred.scores) <= 7

def test_reading_leaves_the_mode_alone(rec):
    for mode in (True, False):
        rec.train(mode)
        rec.read(rec.collate(LINES[:1]))
        assert rec.training == mode and rec.core.training == mode
    rec.eval()

def test_a_batch_is_shown_without_obeying_it(rec):
    html = rec.batch_html([replace(LINES[0], text='<script>x</script>', info=dict(instruction='<b>Read</b>'))])
    assert '<script>' not in html and '<b>' not in html and '&lt;script&gt;' in html and f'{rec.image_tokens(LINES[0].size)} image tokens' in html

def test_a_long_answer_is_shown_to_its_end(rec): assert rec.batch_html([replace(LINES[0], text='| KB |\n'*500)]).count('<br>| KB |') == 499 and '&lt;|im_end|&gt;</code>' in rec.batch_html([replace(LINES[0], text='x'*3000)])
