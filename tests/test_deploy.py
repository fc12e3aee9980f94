"The exported file in RapidOCR"
import json

import numpy as np
import onnx
import pytest
from PIL import Image

from welllog_ocr.deploy import _arguments, main
from welllog_ocr.models.core import load_recogniser
from welllog_ocr.models.ctc import EMBEDDED
from welllog_ocr.models.ngram import ngram_json
from welllog_ocr.models.preprocess import filled
from welllog_ocr.read.backends import TorchReader, open_reader
from welllog_ocr.draw.line import SynthLines

@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp('deploy')/'headers.onnx'
    main(_arguments([EMBEDDED, str(path)]))
    return path

def same_for_both(img):
    "A line at the height of the model, on paper as wide as both codes fill it up: so both see the same pixels"
    img = img.convert('L')
    img = img.resize((round(48*img.width/img.height), 48))
    paper = Image.new('RGB', (max(320, filled(img.width)), 48), 'white')
    paper.paste(img)
    return np.asarray(paper)

def test_rapidocr_reads_the_same_with_it(exported):
    rapidocr = pytest.importorskip('rapidocr')
    engine = rapidocr.RapidOCR(params={'Rec.model_path': str(exported), 'Global.log_level': 'error'})
    pictures = [same_for_both(s.image) for s in SynthLines(12, seed=8)]
    ours = [p.text for p in open_reader(EMBEDDED, bf16=False)(pictures)]
    theirs = [engine(np.ascontiguousarray(p[..., ::-1]), use_det=False, use_cls=False, use_rec=True).txts[0] for p in pictures]
    assert ours == theirs and sum(map(len, ours)) > 100
    assert [p.text for p in open_reader(str(exported))(pictures)] == ours # without torch, the same

def test_the_language_is_in_the_file(exported, tmp_path):
    rec, pictures = load_recogniser(EMBEDDED), [same_for_both(s.image) for s in SynthLines(24, seed=9)]
    alone = [p.text for p in TorchReader(rec, bf16=False)(pictures)]
    rec.fit_language([s.text for s in SynthLines(300, 'language')], 1.)
    model = onnx.load(exported)
    model.metadata_props.add(key='language', value=json.dumps(ngram_json(rec.language, rec.language_weight)))
    onnx.save(model, tmp_path/'spoken.onnx')
    told = [p.text for p in TorchReader(rec, bf16=False)(pictures)]
    assert [p.text for p in open_reader(str(tmp_path/'spoken.onnx'))(pictures)] == told != alone
