"""Up to an hour on two processor cores: as quick_val, twelve times as long.

Choose it when quick_val has helped: it sees some ten times as many drawn lines, and yours many times over, each time damaged in another way.
Nothing stops it early: the cosine takes the learning rate down to zero over all of its steps, and the last ones settle what the others have learned.

    python -m welllog_ocr.train --config configs/experiments/long_val.py --data_path FOLDER
"""
from pathlib import Path

from welllog_ocr.config import load_config

base = load_config(Path(__file__).parents[1]/'base.py')
config = base.replace(experiment_name='long_val', max_steps=3500, warmup_steps=100, eval_steps=250, save_steps=100, early_stopping_patience=0)
