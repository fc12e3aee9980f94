"""As qwen3_qlora_r16, with an adapter twice as large: rank 32, and alpha 32, so that each direction counts as much as before.

Choose it when rank 16 has stopped getting better while its training loss and its errors on held-out pages are still close together: it can learn more, needs some more memory, and overfits sooner on a few hundred pages.

On a card of 24 GB: about 5.8 GB at most.
"""
from pathlib import Path

from welllog_ocr.config import load_config

base = load_config(Path(__file__).parent/'qwen3_qlora_r16.py')
config = base.replace(experiment_name='qwen3_qlora_r32', r=32, lora_alpha=32)
