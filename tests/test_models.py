"""The embedded model against its origin, and the other recognisers of the family."""
import numpy as np
import onnxruntime
import pytest
import torch
from importlib.resources import files

from welllog_ocr.core import SetupError
from welllog_ocr.models.core import load_recogniser
from welllog_ocr.models.ctc import CTCRecogniser, embedded_model, to_pixels
from welllog_ocr.draw.line import SynthLines

@pytest.mark.parametrize('width', [64, 320, 736])
def test_embedded_model_equals_onnxruntime(width):
    model, _ = embedded_model()
    session = onnxruntime.InferenceSession(str(files('rapidocr')/'models'/'PP-OCRv6_rec_small.onnx'), providers=['CPUExecutionProvider'])
    x = torch.rand(2, 3, 48, width, generator=torch.Generator().manual_seed(width))*2 - 1
    with torch.no_grad(): ours = model(x).last_hidden_state.numpy()
    theirs = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    assert np.abs(ours - theirs).max() < 1e-3
    assert (ours.argmax(-1) == theirs.argmax(-1)).all()

def test_an_onnx_file_of_the_family_is_a_model_to_start_from(tmp_path):
    path = files('rapidocr')/'models'/'PP-OCRv6_rec_small.onnx'
    ours, packaged = load_recogniser(str(path)).state_dict(), load_recogniser().state_dict()
    assert all(torch.equal(ours[k], packaged[k]) for k in packaged)

@pytest.mark.parametrize('name, why', [('PP-OCRv6_det_small.onnx', 'no text recogniser'), ('absent.onnx', 'cannot be loaded')])
def test_an_onnx_file_of_something_else_is_refused(name, why):
    with pytest.raises(SetupError, match=why): load_recogniser(str(files('rapidocr')/'models'/name))

def test_embedded_model_equals_onnxruntime_on_lines():
    model, characters = embedded_model()
    session = onnxruntime.InferenceSession(str(files('rapidocr')/'models'/'PP-OCRv6_rec_small.onnx'), providers=['CPUExecutionProvider'])
    for s in SynthLines(12, 'onnx'):
        x = to_pixels(s.image)[None]
        with torch.no_grad(): ours = model(torch.from_numpy(x)).last_hidden_state.numpy()
        theirs = session.run(None, {session.get_inputs()[0].name: x})[0]
        assert np.abs(ours - theirs).max() < 1e-3
        assert (ours.argmax(-1) == theirs.argmax(-1)).all()

# what the published models have; the default of transformers is that of a classifier, which halves a line's height once too often
BACKBONES = {'PPOCRV5MobileRec': dict(backbone_config=dict(model_type='pp_lcnet_v3', scale=0.75, divisor=16, out_features=['stage2', 'stage3', 'stage4', 'stage5'], block_configs=[
    [[3, 16, 32, 1, False]], [[3, 32, 64, [2, 1], False]], [[3, 64, 128, [2, 1], False]], [[3, 128, 256, [1, 2], False]], [[5, 256, 512, [2, 1], True]]]))}

@pytest.mark.parametrize('name', ['PPOCRV5MobileRec', 'PPOCRV5ServerRec', 'PPOCRV6SmallRec', 'PPOCRV6TinyRec'])
def test_other_recognisers_of_the_family_train_and_save(name, tmp_path):
    import transformers
    characters = list('0123456789 ')
    config = getattr(transformers, f'{name}Config')(head_out_channels=len(characters) + 1, **BACKBONES.get(name, {}))
    rec = CTCRecogniser(getattr(transformers, f'{name}ForTextRecognition')(config), characters)
    lines = [s for s in SynthLines(300, 'family') if not rec.refuses(s)][:3]
    sums, tokens = rec.losses(rec.collate(lines))
    sums.sum().backward()
    assert torch.isfinite(sums).all() and tokens.tolist() == [len(s.text) for s in lines]
    rec.save_pretrained(tmp_path/name)
    again = load_recogniser(str(tmp_path/name))
    assert [p.text for p in again.transcribe(again.collate(lines))] == [p.text for p in rec.transcribe(rec.collate(lines))]

def test_a_folder_without_its_characters_is_refused(tmp_path):
    from welllog_ocr.models.ctc import tiny_ctc
    tiny_ctc().save_pretrained(tmp_path/'m')
    (tmp_path/'m'/'preprocessor_config.json').unlink()
    with pytest.raises(SetupError, match='preprocessor_config.json'): load_recogniser(str(tmp_path/'m'))

def test_new_characters_of_the_config_get_rows():
    rec = load_recogniser(extra_characters='口☐')
    assert rec.characters[-2:] == ['口', '☐'] or set('口☐') <= set(rec.characters)
    assert torch.isfinite(rec.losses(rec.collate(list(SynthLines(2, 'rows'))))[0]).all()
