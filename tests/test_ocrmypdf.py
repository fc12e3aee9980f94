"PDFs that can be searched: what is read stands in its place, whatever it says and however long the log is."
import sys
from pathlib import Path

import pytest

pytest.importorskip('ocrmypdf', reason='needs OCRmyPDF, the extra pdf')
import ocrmypdf, pikepdf, rapidocr
from conftest import ROOT
from hostile import HOSTILE
from ocrmypdf.exceptions import BadArgsError
from PIL import Image, ImageDraw

from welllog_ocr import ocrmypdf as plugin

sys.path.insert(0, str(ROOT/'bench'))
from searchable import by_pdfium, lines_found

def searchable(scan, out, **more):
    "Made in this process, so that a test can say what is read"
    ocrmypdf.ocr(scan, out, **dict(plugins=['welllog_ocr.ocrmypdf'], output_type='pdf', progress_bar=False, jobs=1, welllog_model='none') | more)
    return list(by_pdfium(out))

@pytest.fixture
def says(monkeypatch):
    "Called with (text, box) of each line; these are read of every page"
    def set_lines(lines):
        seen = []
        def read(path, options):
            with Image.open(path) as img: seen.append(img.size)
            found = [dict(text=t, confidence=.9, row=n, box=[[x, y], [u, y], [u, v], [x, v]]) for n, (t, (x, y, u, v)) in enumerate(lines)]
            return dict(file='a.png', page=0, size=seen[-1], region=[0, seen[-1][1]], turns=0, lines=found, text='\n'.join(t for t, _ in lines), record={})
        monkeypatch.setattr(plugin, '_read', read)
        monkeypatch.setattr(plugin, '_reader', lambda *a: None)
        return seen
    return set_lines

def blank(path, size, dpi=200, **more):
    img = Image.new('1', size, 1)
    ImageDraw.Draw(img).rectangle((10, 10, 60, 60), fill=0)
    img.save(path, dpi=(dpi, dpi), **more)
    return path

def test_hostile_texts_are_text_and_do_nothing(says, tmp_path):
    lines = [(t[:90], (20, 20 + 40*n, 780, 50 + 40*n)) for n, t in enumerate(HOSTILE)]
    says(lines)
    (_, found), = searchable(blank(tmp_path/'a.png', (800, 2600)), tmp_path/'a.pdf', sidecar=tmp_path/'a.txt')
    assert 'alert(1)' in ''.join(t for t, *_ in found)
    with pikepdf.open(tmp_path/'a.pdf') as pdf:
        assert not {'/OpenAction', '/AA', '/Names', '/AcroForm'} & {*pdf.Root.keys()} and '/Annots' not in pdf.pages[0] and '/AA' not in pdf.pages[0]

@pytest.mark.parametrize('size, dpi', [((801, 603), 203.2), ((400, 45000), 200), ((998, 1001), 300)], ids=('odd', '225 inches', 'fine'))
def test_a_page_is_read_with_its_own_pixels_and_texts_are_in_their_place(says, tmp_path, size, dpi):
    lines = [('COMPANY SHELL OIL CO.', (50, 100, 390, 130)), ('4,500 FT', (60, size[1] - 60, 200, size[1] - 30)), ('UPWARDS TEXT', (10, 200, 40, 480))]
    seen = says(lines)
    (place, found), = searchable(blank(tmp_path/'a.tif', size, dpi, compression='group4'), tmp_path/'a.pdf')
    row = plugin._read(tmp_path/'a.tif', None)
    assert seen[0] == size and lines_found(row, place, found) == [True]*3

def test_a_turned_and_skewed_page_is_set_upright_and_read(tmp_path):
    texts = ('COMPANY SHELL OIL', 'WELL STATE NO. 7', 'FIELD KERMIT', 'COUNTY WINKLER', 'STATE TEXAS', 'LOCATION SEC 12')
    sheet = Image.new('L', (700, 420), 255)
    for n, t in enumerate(texts): ImageDraw.Draw(sheet).text((40, 30 + 62*n), t, fill=0, font_size=36)
    sheet.rotate(2, fillcolor=255).transpose(Image.Transpose.ROTATE_90).save(tmp_path/'a b;"c.png', dpi=(150, 150))
    model, = (Path(rapidocr.__file__).parent/'models').glob('*rec*small*.onnx')
    (size, found), = searchable(tmp_path/'a b;"c.png', tmp_path/'a.pdf', welllog_model=str(model), rotate_pages=True, deskew=True, language=['deu'])
    said = ''.join(c for c, *_ in found if c.strip())
    assert size[0] > size[1] and sum(t.replace(' ', '') in said for t in texts) >= 5, said

def test_what_cannot_work_is_said(tmp_path, monkeypatch, capsys):
    scan = blank(tmp_path/'a.png', (300, 300))
    for model, says in (('', 'no model was named'), (str(tmp_path/'lost.onnx'), 'no such file')):
        with pytest.raises(BadArgsError, match=says): searchable(scan, tmp_path/'x.pdf', welllog_model=model)
    monkeypatch.setattr(plugin, '_reader', lambda *a: lambda scans: iter([(dict(file='a.png', page=0, error='a.png: is cut off'), None)]))
    (_, found), = searchable(scan, tmp_path/'x.pdf')
    assert found == [] and (tmp_path/'x.pdf').is_file()
