"""The base that every experiment starts from: the defaults, as a file, with the first layers of the default model kept as they are."""
from welllog_ocr.config import TrainingConfig

config = TrainingConfig(freeze='encoder.convolution blocks.0. blocks.1.')
