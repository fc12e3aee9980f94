"Train with weights in pieces on processors: python -m torch.distributed.run ... tests/pieces.py CONFIG. Accelerate itself cuts weights up only on graphics cards"
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from torch.distributed.fsdp import fully_shard

from welllog_ocr.run import step
from welllog_ocr.config import load_config
from welllog_ocr.run.distributed import ProcessGroup
from welllog_ocr.train import train

def prepare(pg, model, optimizer):
    "What accelerate does: cut the weights up, and let the optimizer change the pieces"
    cfg = load_config(Path(sys.argv[1]))
    for p in model.parameters(): p.data = p.data.contiguous()
    fully_shard(model.model.model)
    fully_shard(model)
    return model, step._optimizer(cfg, model)

ProcessGroup.prepare = prepare
ProcessGroup.accumulate = lambda pg, model, now: model.set_requires_gradient_sync(now) or nullcontext()
train(load_config(Path(sys.argv[1])))
