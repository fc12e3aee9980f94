"""Qwen3-VL-2B reads whole header pages to markdown: a LoRA adapter of rank 16 beside a language model in 4 bits (QLoRA).

Choose it first of the experiments on whole pages: it fits any card from 12 GB on, and rank 16 is enough to learn how headers are laid out and written down.

On a card of 24 GB: about 5.7 GB at most, by `python -m welllog_ocr.memory --config configs/experiments/qwen3_qlora_r16.py`.

`gpu_hourly_rate` is an example: set what your machine costs, or the budget means nothing. Without --data_path it learns from drawn pages. `max_seq_length` is 4,096, since a page is about 1,000 tokens of image and 1,000 to 2,000 of markdown, and what is longer is left out and listed, never cut.
"""
from pathlib import Path

from welllog_ocr.config import load_config

base = load_config(Path(__file__).parents[1]/'base.py')
config = base.replace(
    experiment_name='qwen3_qlora_r16', model_name='Qwen/Qwen3-VL-2B-Instruct', freeze='', synth_kind='page', synth_lines=400, synth_eval_lines=40,
    load_in_4bit=True, r=16, lora_alpha=16, lora_dropout=0., gradient_checkpointing=True, max_seq_length=4096, max_batch_cost=8192,
    learning_rate=2e-4, per_device_train_batch_size=2, gradient_accumulation_steps=4, per_device_eval_batch_size=4, warmup_steps=5,
    optim='adamw_8bit', weight_decay=0.01, lr_scheduler_type='linear', max_steps=500, ema_decay=0., seed=3407,
    logging_steps=1, eval_steps=50, save_steps=50, early_stopping_patience=3, early_stopping_min_delta=0.001, early_stopping_min_evals=2, train_loss_threshold=0.,
    gpu_hourly_rate=0.7, budget_cap=10.)
