"""A vision-language model that learns to write the records of a few drawn sheets, through train, evaluate and predict; and one that writes anything but records."""
import json

import pytest
from PIL import Image

from welllog_ocr import evaluate, predict
from welllog_ocr.config import TrainingConfig
from welllog_ocr.data.load import load_data
from welllog_ocr.data.records import LONGEST, parse_record, record_text
from welllog_ocr.draw.page import SynthRecords
from welllog_ocr.files import read_jsonl, write_jsonl
from welllog_ocr.models.vlm import tiny_chat
from welllog_ocr.read.backends import Read, TorchReader
from welllog_ocr.train import train

KEPT = ('company', 'county', 'run_no', 'date')

@pytest.fixture(scope='module')
def sheets(tmp_path_factory):
    "Drawn sheets with the truth of a few fields, as a folder of pages with field truth"
    folder = tmp_path_factory.mktemp('sheets')
    for split in ('train', 'eval'):
        (folder/split).mkdir()
        rows = []
        for i, s in enumerate(SynthRecords(2, 'learned', dpi=90, light=True)):
            s.image.save(folder/split/f'{i}.png')
            found = parse_record(s.text)
            some = lambda values: {k: v for k, v in values.items() if k in KEPT}
            rows.append(dict(file_name=f'{i}.png', group=f'{split} {i}', form='api_rp31', fields=some(found['fields']) | dict(well='?'), runs=[some(found['runs'][0])]))
        write_jsonl(folder/split/'metadata.jsonl', rows)
    return folder

@pytest.fixture(scope='module')
def learned(sheets, tmp_path_factory):
    folder = tmp_path_factory.mktemp('learned')
    tiny_chat(width=64, depth=2).save_pretrained(folder/'model')
    cfg = TrainingConfig(model_name=str(folder/'model'), output_dir=str(folder/'runs'), experiment_name='x', data_path=str(sheets), synth_kind='record', synth_share=0., augment=0., preflight=False, bf16=False,
                         max_steps=120, warmup_steps=5, learning_rate=5e-3, lr_scheduler_type='constant_with_warmup', per_device_train_batch_size=2, ema_decay=0., weight_decay=0., eval_steps=120, save_steps=120,
                         early_stopping_patience=0, min_pixels=1024, max_pixels=16384, language_texts=2)
    return train(cfg)

def test_it_learns_the_records_of_drawn_sheets(sheets, learned, tmp_path, capsys):
    losses = [r['loss'] for r in read_jsonl(learned/'metrics.jsonl') if r['split'] == 'train']
    assert losses[-1] < losses[0]/10
    evaluate.main(evaluate._arguments(['--model', str(learned/'final'), '--data', str(sheets), '--output', str(tmp_path/'out')]))
    said = capsys.readouterr().out
    assert 'Every answer is a record.' in said and 'F1' in said and 'F1' in (tmp_path/'out'/'table.md').read_text(encoding='utf-8')
    rows = read_jsonl(tmp_path/'out'/'eval.jsonl')
    assert all(r['kind'] == 'record' and r['prediction'] == r['reference'] and r['unsure'] == ['fields.well'] for r in rows)

def test_it_writes_records_of_scans(sheets, learned, tmp_path):
    out = tmp_path/'found.jsonl'
    predict.main(predict._arguments([str(sheets/'eval'), '--model', str(learned/'final'), '--kind', 'record', '--output', str(out)]))
    rows, truth = read_jsonl(out), load_data(sheets).eval
    assert len(rows) == len(truth) == 2
    for row, s in zip(rows, truth):
        values = [v for part in (row['record']['fields'], *row['record']['runs']) for v in part.values()]
        assert json.loads(s.text) == dict(fields={k: v['text'] for k, v in row['record']['fields'].items()}, runs=[{k: v['text'] for k, v in r.items()} for r in row['record']['runs']])
        assert all(v['how'] == 'vlm' and bool(v['lines']) == bool(v['box']) == ('ungrounded' not in v['flags']) for v in values)
        assert any(v['lines'] for v in values) and row['kind'] == 'page' and 'PP-OCRv6-small' in row['how']

HOSTILE = ['', '<img src=x onerror=alert(1)>', '['*10_000, '{"a":'*10_000, 'x'*10**6, '"'*LONGEST, '\0\x1b[31m', '{"fields":{"<b>":"x"},"runs":[]}', '{"fields":{"company":"\\u001b[2J"},"runs":[]}', '{"fields":{},"runs":[]} and more']

def test_what_is_no_record_is_an_empty_one(tmp_path, monkeypatch):
    rec, page = tiny_chat(), [str(tmp_path/'page.png')]
    Image.new('L', (300, 400), 255).save(page[0])
    blind = type('Blind', (), dict(kinds=('line',), calibration=staticmethod(float), __call__=lambda self, pictures, kind='line', languages=(): [Read('', 0.) for _ in pictures]))()
    monkeypatch.setattr('welllog_ocr.read.scans.as_reader', lambda rec, bf16: rec)
    for text in HOSTILE:
        monkeypatch.setattr(TorchReader, '__call__', lambda self, pictures, kind='line', languages=(): [Read(text, .9) for _ in pictures])
        row, = predict.predict(TorchReader(rec), page, 'record', ground=blind)
        assert row['record'] == dict(form='', fields={}, runs=[], other=[]) and row['record_error'].startswith('no record') and len(row['record_error']) < 300
        assert '\x1b' not in row['record_error'] and '\0' not in row['record_error']
    _, bad = evaluate.record_cells([dict(id='a', kind='record', group='w', reference='{"fields":{"well":"A"},"runs":[]}', prediction=t) for t in HOSTILE])
    assert len(bad) == len(HOSTILE)
    report = evaluate.records_report([dict(id='<a>', kind='record', group='w', reference='{"fields":{"well":"A"},"runs":[]}', prediction=HOSTILE[7])])
    for shown in (report.md, report.html): assert '<b>' not in shown and '<a>' not in shown and '1 answers are no record' in shown
