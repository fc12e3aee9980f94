"""Estimated against measured memory of a training, for small models of several kinds on a processor:

    python bench/memory_estimate.py

Measured is what the allocator of PyTorch says: the most that was there at one time in two training steps, and in an evaluation.
"""
import gc, os, sys, tempfile
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._pytree import tree_leaves

from welllog_ocr.config import TrainingConfig
from welllog_ocr.models.core import autocast, family, load_recogniser
from welllog_ocr.run.memory import estimate, largest_batch, longest_sample
from welllog_ocr.run.step import EMA, _optimizer

CHAT = dict(max_pixels=256*256, max_seq_length=512, max_new_tokens=96, per_device_train_batch_size=2, gradient_accumulation_steps=2, per_device_eval_batch_size=2, ema_decay=0.)
LORA = dict(CHAT, r=16)
RUNS = { # name -> (model, settings)
    'TrOCR, whole, float32, average':             ('trocr', dict(bf16=False, per_device_train_batch_size=8, per_device_eval_batch_size=8)),
    'Donut, whole, bfloat16, two parts':          ('donut', dict(per_device_train_batch_size=8, gradient_accumulation_steps=2, per_device_eval_batch_size=8)),
    'Qwen3-VL, whole, recomputed':                ('qwen3_vl', dict(CHAT, gradient_checkpointing=True)),
    'Qwen3-VL, LoRA':                             ('qwen3_vl', LORA),
    'Qwen3-VL, QLoRA, 8-bit Adam, recomputed':    ('qwen3_vl', dict(LORA, load_in_4bit=True, optim='adamw_8bit', gradient_checkpointing=True)),
    'PaddleOCR-VL, LoRA, float32':                ('paddleocr_vl', dict(LORA, bf16=False)),
    'SmolVLM, LoRA, average':                     ('smolvlm', dict(LORA, ema_decay=.98)),
    'Qwen2.5-VL, QLoRA':                          ('qwen2_5_vl', dict(LORA, load_in_4bit=True, optim='adamw_8bit')),
}

def make(kind:str, folder:Path):
    "A random model of a few million weights"
    if kind in ('trocr', 'donut'):
        from welllog_ocr.models.seq2seq import tiny_seq2seq
        return tiny_seq2seq(kind).save_pretrained(folder)
    from welllog_ocr.models.vlm import tiny_chat
    tiny_chat(kind, width=256, depth=2).save_pretrained(folder)

def peak(act)->int:
    "Most bytes that PyTorch had allocated at one time during `act`, beside those before"
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as p: act()
    now = most = 0
    for _, n in sorted((e.start_ns(), e.nbytes()) for e in p.profiler.kineto_results.events() if e.name() == '[memory]'): most = max(most, now := now + n)
    return most

def storages(things)->int: return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tree_leaves(things) if isinstance(t, torch.Tensor)}.values())

def live()->int:
    "Bytes of all tensors that there are"
    gc.collect()
    return storages([t for t in gc.get_objects() if isinstance(t, torch.Tensor)])

def measured(cfg)->tuple[float, float]: # Bytes in training and in evaluation
    before = live()
    rec = load_recogniser(cfg.model_name, **family(cfg.model_name).options(cfg))
    sample = longest_sample(cfg, rec)
    n, more = largest_batch(cfg, rec.cost(sample))
    batch, held, adam, ema = rec.collate([sample]*n), rec.collate([sample]*cfg.per_device_eval_batch_size), _optimizer(cfg, rec), EMA(rec, cfg.ema_decay)
    def step(parts=1 + more):
        rec.train()
        for _ in range(parts):
            with autocast(torch.device('cpu'), cfg.bf16): sums, _ = rec.losses(batch)
            sums.sum().backward()
            del sums
        torch.nn.utils.clip_grad_norm_(list(rec.trainable().values()), 1.)
        adam.step(), adam.zero_grad(), ema.update()
    def read():
        rec.eval()
        with torch.no_grad(), ema.applied(), autocast(torch.device('cpu'), cfg.bf16): rec.read(held)
    step()
    fixed = live() - before - storages(held)
    trained = fixed + peak(step)
    return trained, fixed - storages(batch) + storages(held) + peak(read)

def main(names):
    folder = Path(tempfile.mkdtemp())
    print('| training | weights | estimate | measured | ratio | evaluation, estimate | measured | ratio |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
    for name, (kind, settings) in RUNS.items():
        if names and not any(n in name for n in names): continue
        if not (folder/kind).exists(): make(kind, folder/kind)
        cfg = TrainingConfig(model_name=str(folder/kind), **settings)
        m = estimate(cfg, card=False)
        trains, reads = m.fixed + max(m.batch + m.step, m.gradients + m.update), m.fixed + m.reading
        t, r = measured(cfg)
        print(f'| {name} | {sum(m.weights.values())/1e6:.1f} MB | {trains/1e6:.1f} MB | {t/1e6:.1f} MB | {trains/t:.3f} | {reads/1e6:.1f} MB | {r/1e6:.1f} MB | {reads/r:.3f} |', flush=True)

if __name__ == '__main__': main(sys.argv[1:])
