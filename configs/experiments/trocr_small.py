"""TrOCR small (62 M weights) reads single lines: all of its weights are trained.

Choose it to compare with the default line recogniser: it writes token by token with a language model of its own, which helps where letters are hardly there, and it is several times slower; on long lines the squeeze to a square of 384 pixels costs letters.

On a card of 24 GB: about 3.6 GB at most.
"""
from pathlib import Path

from welllog_ocr.config import load_config

base = load_config(Path(__file__).parents[1]/'base.py')
config = base.replace(
    experiment_name='trocr_small', model_name='microsoft/trocr-small-printed', freeze='', max_seq_length=128, max_batch_cost=16384,
    learning_rate=5e-5, per_device_train_batch_size=16, per_device_eval_batch_size=16, warmup_steps=100, max_steps=2000, eval_steps=200, save_steps=100,
    lr_scheduler_type='linear', synth_eval_lines=400, gpu_hourly_rate=0.7, budget_cap=10.)
