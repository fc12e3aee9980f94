"""A few minutes on two processor cores: does fine-tuning help on these headers at all?

As it stands it learns from drawn lines alone. With lines of your own beside them:

    python -m welllog_ocr.train --config configs/experiments/quick_val.py --experiment_name mine --data_path FOLDER
"""
from pathlib import Path

from welllog_ocr.config import load_config

base = load_config(Path(__file__).parents[1]/'base.py')
config = base.replace(experiment_name='quick_val', max_steps=300, eval_steps=75)
