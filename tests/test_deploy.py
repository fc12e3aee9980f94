"The exported file in RapidOCR"
import numpy as np
import pytest
from PIL import Image

from welllog_ocr.deploy import _arguments, main
from welllog_ocr.models.ctc import EMBEDDED
from welllog_ocr.models.preprocess import filled
from welllog_ocr.read.backends import open_reader
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
