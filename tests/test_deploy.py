"The exported file in RapidOCR"
import numpy as np
import pytest
from PIL import Image

from welllog_ocr.deploy import _arguments, main
from welllog_ocr.models.ctc import EMBEDDED
from welllog_ocr.readers import open_reader
from welllog_ocr.synth import SynthLines

@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp('deploy')/'headers.onnx'
    main(_arguments([EMBEDDED, str(path)]))
    return path

def test_rapidocr_reads_the_same_with_it(exported):
    rapidocr = pytest.importorskip('rapidocr')
    engine = rapidocr.RapidOCR(params={'Rec.model_path': str(exported), 'Global.log_level': 'error'})
    pictures = [np.asarray(s.image.convert('RGB')) for s in SynthLines(12, seed=8)]
    ours = [p.text for p in open_reader(EMBEDDED, bf16=False)(pictures)]
    assert [p.text for p in open_reader(str(exported))(pictures)] == ours # without torch, the same
    theirs = [engine(p[..., ::-1], use_det=False, use_cls=False, use_rec=True).txts[0] for p in pictures]
    same = sum(a.strip() == b.strip() for a, b in zip(ours, theirs)) # widths are rounded up in their code and to the nearest here
    assert same >= 10 and sum(map(len, ours)) > 100
