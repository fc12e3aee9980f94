"""PaddleOCR-VL (0.9 B weights, made for documents) reads whole header pages: a LoRA adapter of rank 16, its weights in 16 bits.

Choose it where speed counts: less than half the size of Qwen3-VL-2B, so it reads and trains faster, and it knows documents and tables from the start. It is small enough to stay in 16 bits.

On a card of 24 GB: about 2.9 GB at most.
"""
from pathlib import Path

from welllog_ocr.config import load_config

base = load_config(Path(__file__).parent/'qwen3_qlora_r16.py')
config = base.replace(experiment_name='paddleocr_vl', model_name='PaddlePaddle/PaddleOCR-VL', load_in_4bit=False)
