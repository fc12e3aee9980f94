"""Turned pages are found again: drawn ones always, real ones where they are at hand."""
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from conftest import REAL
from welllog_ocr.data.orient import find_header, find_pose, read_header, orient

def page(n:int, size=(800, 1000), rules:bool=True)->Image.Image:
    "A page of labels and values, ruled"
    rng, img = np.random.default_rng(n), Image.new('L', size, 255)
    pen, words = ImageDraw.Draw(img), ['COMPANY', 'WELL', 'FIELD WILDCAT', 'County', 'State Texas', 'Depth Driller', '12,304', '8 5/8', 'Witness', 'Perm. Datum', 'KB 912', 'Log measured from']
    height = int(rng.integers(16, 30))
    for y in range(40, size[1] - 60, int(2.2*height)):
        if rules: pen.line((30, y + 1.6*height, size[0] - 30, y + 1.6*height), width=2)
        for x in range(40, size[0] - 250, 260): pen.text((x + float(rng.uniform(0, 20)), y), words[rng.integers(len(words))], fill=0, font_size=height)
    return img

@pytest.mark.parametrize('turns', range(4))
def test_drawn_pages_come_back(turns):
    for n in range(6):
        img, pose = orient(page(n).rotate(-90*turns, expand=True))
        assert pose.turns == turns and np.array_equal(np.asarray(img), np.asarray(page(n)))

@pytest.mark.parametrize('turns', range(4))
@pytest.mark.parametrize('angle', [-5, -2, -.5, .5, 3])
def test_skew_is_measured_whichever_way_the_page_lies(turns, angle):
    pose = find_pose(page(1).rotate(-angle, Image.Resampling.BICUBIC, expand=True, fillcolor=255).rotate(-90*turns, expand=True))
    assert pose.turns == turns and abs(pose.skew - angle) < .3

@pytest.mark.parametrize('turns', [0, 1, 3])
def test_a_header_above_an_upright_track(tmp_path, turns):
    "What stands on the header comes along whole, and the track does not outvote it"
    head, text = (page(3, rules=r).rotate(-90*turns, expand=True).resize((800, 1000) if turns == 0 else (800, 640)) for r in (True, False))
    _, first, _, last = ImageOps.invert(text).getbbox()
    log  = Image.new('L', (840, 12_000), 255)
    log.paste(head, (20, 60))
    pen, end = ImageDraw.Draw(log), 60 + head.height
    for y in range(end + 150, 12_000, 40): pen.line((20, y, 820, y))
    for y in range(end + 60, 12_000, 120):
        for x in range(60, 700, 160): pen.text((x, y), f'{y} ft', fill=0, font_size=24)
    log.convert('1').save(tmp_path/'log.tif', compression='group4')
    img, found = read_header(tmp_path/'log.tif')
    assert found.turns == turns
    assert found.top <= 60 + first and found.top + found.height >= 60 + last, found # of the margin, some may stay behind
    assert turns == 0 or found.top + found.height < end + 200, found

def test_threads_do_not_disturb_each_other():
    from concurrent.futures import ThreadPoolExecutor
    pages = [page(n).rotate(-90*(n % 4), expand=True) for n in range(8)]
    with ThreadPoolExecutor(4) as pool: assert list(pool.map(find_pose, pages)) == [find_pose(p) for p in pages]

def test_real_pages_come_back():
    folder = REAL.parent/'pages'
    if not folder.is_dir(): pytest.skip('needs real header pages, which are not part of the project')
    files = sorted(folder.glob('*.png'))
    wrong = [f.name for i, f in enumerate(files) if find_pose(Image.open(f).convert('L').rotate(-90*(i % 4), expand=True)).turns != i % 4]
    assert not wrong, f'{len(wrong)} of {len(files)}: {wrong}'

def test_real_logs_have_their_headers_found():
    folder = REAL.parent/'tiffs'
    if not folder.is_dir(): pytest.skip('needs real logs, which are not part of the project')
    for f in sorted(folder.glob('*.tif')):
        found = find_header(f)
        assert found.turns in (0, 1) and found.letters > 100 and found.sure > .2, (f.name, found) # bench/find_headers.py draws them, to look at
