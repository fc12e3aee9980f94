"""Twenty minutes on two processor cores: the line recogniser on your own lines, with drawn ones beside them.

    python -m welllog_ocr.train --config configs/experiments/lines_20min.py --data_path FOLDER
"""
from pathlib import Path

from welllog_ocr.config import load_config

base = load_config(Path(__file__).parents[1]/'base.py')
config = base.replace(experiment_name='lines_20min', max_steps=1200, eval_steps=150, save_steps=150, ema_decay=0.99, early_stopping_patience=0)
