"""The callback in a real Trainer of transformers."""
import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from welllog_ocr.core import ConfigError
from welllog_ocr.run.stopping import EarlyStopping, trainer_callback

class Line(nn.Module):
    "A straight line; its loss on eval is what the test says"
    def __init__(self): super().__init__(); self.w = nn.Parameter(torch.zeros(1))
    def forward(self, x, labels=None):
        loss = ((self.w*x - labels)**2).mean()
        return dict(loss=loss, logits=self.w*x)

DATA = [dict(x=torch.tensor([1.]), labels=torch.tensor([2.])) for _ in range(8)]

def trainer(folder, stop, values, **kw):
    "A Trainer whose evaluations give `values` one after the other"
    args = TrainingArguments(output_dir=str(folder), max_steps=20, eval_strategy='steps', eval_steps=2, save_steps=2, per_device_train_batch_size=4, report_to=[], use_cpu=True, disable_tqdm=True,
                             logging_strategy='no', **kw)
    t = Trainer(Line(), args, train_dataset=DATA, eval_dataset=DATA, callbacks=[trainer_callback(stop, 'eval_cer')], compute_metrics=lambda p: dict(cer=values.pop(0)))
    return t

def test_it_stops_a_trainer(tmp_path):
    stop = EarlyStopping(patience=2, min_delta=0.001)
    t = trainer(tmp_path, stop, [.5, .4, .4, .3999, .1, .1])
    t.train()
    assert (t.state.global_step, stop.bad, stop.best) == (8, 2, .4)

def test_its_counts_survive_a_resume_of_the_trainer(tmp_path):
    first = EarlyStopping(patience=3)
    t = trainer(tmp_path, first, [.5, .4, .4, .4, .4, .4])
    t.args.max_steps = 6
    t.train()
    assert (t.state.global_step, first.bad) == (6, 1)
    second = EarlyStopping(patience=3)
    t = trainer(tmp_path, second, [.4, .4, .4, .4, .4, .4, .4], restore_callback_states_from_checkpoint=True)
    t.train(resume_from_checkpoint=True)
    assert (t.state.global_step, second.evals) == (10, 5) # not 12, as it would be with counts that begin anew

def test_a_metric_that_is_not_there_is_named(tmp_path):
    t = trainer(tmp_path, EarlyStopping(), [.5])
    t.callback_handler.callbacks[-1] = trainer_callback(EarlyStopping(), 'eval_exact')
    with pytest.raises(ConfigError, match="no 'eval_exact'"): t.train()
