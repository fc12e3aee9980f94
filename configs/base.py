"""The base that every experiment starts from: the defaults, as a file, with the first layers of the default model kept as they are, and lines in large parts, which is faster and takes some hundred megabytes more."""
from welllog_ocr.config import TrainingConfig

config = TrainingConfig(freeze='encoder.convolution blocks.0. blocks.1.', max_batch_cost=16384)
