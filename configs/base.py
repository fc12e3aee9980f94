"""The base that every experiment starts from: the defaults, as a file."""
from welllog_ocr.config import TrainingConfig

config = TrainingConfig()
