"""A zoo of broken and odd images, made here: each is read as the chapter says, or refused with a reason; none crashes, none takes a gigabyte."""
import io, json, os, random, struct, subprocess, sys, zlib
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from conftest import ROOT

pytestmark = pytest.mark.filterwarnings('ignore::UserWarning') # Pillow's, about broken EXIF

BASE = Image.new('L', (420, 60), 255)
ImageDraw.Draw(BASE).text((20, 10), 'FIELD WILDCAT', fill=0, font_size=36)
BILEVEL = BASE.convert('1', dither=Image.Dither.NONE)

def saved(fmt:str, img=BASE, **kw)->bytes:
    f = io.BytesIO()
    img.save(f, fmt, **kw)
    return f.getvalue()

def exif(turn:int)->bytes:
    e = Image.Exif()
    e[0x0112] = turn
    return e.tobytes()

UNDO = {1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270}
def lying(turn:int, img=BASE)->Image.Image: return img.transpose(UNDO[turn]) if UNDO[turn] is not None else img

def chunk(kind:bytes, data:bytes, crc:int|None=None)->bytes: return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data) if crc is None else crc)
def png(w:int, h:int, *more, bits:int=8, idat:bytes|None=None)->bytes:
    idat = zlib.compress(b'\0'*1000) if idat is None else idat
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, bits, 0, 0, 0, 0)) + b''.join(more) + (chunk(b'IDAT', idat) if idat else b'') + chunk(b'IEND', b'')

def tiff(entries:dict, tail:bytes=b'', order:str='<', next:int=0)->bytes:
    "A TIFF with one directory: tag -> (type, count, value or offset)"
    body = struct.pack(order + 'H', len(entries)) + b''.join(struct.pack(order + 'HHI', tag, *e[:2]) + (struct.pack(order + ('I' if e[0] != 3 else 'HH'), *((e[2],) if e[0] != 3 else (e[2], 0)))) for tag, e in sorted(entries.items()))
    return (b'II*\0' if order == '<' else b'MM\0*') + struct.pack(order + 'I', 8) + body + struct.pack(order + 'I', next) + tail

PIXELS = np.asarray(BASE).tobytes()
def plain_tiff(order='<', next=0, **changed)->bytes:
    "BASE, uncompressed, with some tags changed: width, height, bits, compression, photometric, offset, per (sample), rows, count"
    names = dict(width=256, height=257, bits=258, compression=259, photometric=262, offset=273, per=277, rows=278, count=279)
    at = 8 + 2 + 12*9 + 4
    values = dict(width=420, height=60, bits=8, compression=1, photometric=1, offset=at, per=1, rows=60, count=len(PIXELS)) | changed
    return tiff({names[k]: (3, 1, v) if k in ('bits', 'compression', 'photometric', 'per') else (4, 1, v) for k, v in values.items()}, PIXELS, order, next)

def webp_header(w:int, h:int)->bytes:
    vp8l = b'\x2f' + struct.pack('<I', (w - 1) | (h - 1) << 14) + bytes(40)
    body = b'WEBPVP8L' + struct.pack('<I', len(vp8l)) + vp8l
    return b'RIFF' + struct.pack('<I', len(body)) + body

def jpeg_of(w:int, h:int)->bytes:
    data = saved('JPEG')
    at = data.index(b'\xff\xc0')
    return data[:at + 5] + struct.pack('>HH', h, w) + data[at + 9:]

def cut(data:bytes, share:float)->bytes: return data[:int(len(data)*share)]
def text_chunk()->bytes: # 300 MB of text in 300 kB
    packer = zlib.compressobj(9)
    return chunk(b'zTXt', b'Comment\0\0' + b''.join(packer.compress(bytes(1_000_000)) for _ in range(300)) + packer.flush())
def palette_with_holes()->bytes:
    img = Image.new('P', BASE.size, 2)
    img.putpalette([0, 0, 0, 255, 255, 255, 0, 0, 0])
    img.paste(0, mask=ImageOps.invert(BASE).point(lambda v: 255*(v > 127)))
    return saved('PNG', img, transparency=2) # the paper is a hole, black underneath
def animated(fmt:str, **kw)->bytes: return saved(fmt, BASE.convert('RGB'), save_all=True, append_images=[ImageOps.invert(BASE).convert('RGB')]*3, duration=100, **kw)
def locked_pdf()->bytes:
    return b'%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n3 0 obj<</Filter/Standard/V 1/R 2/O(' + b'x'*32 + b')/U(' + b'y'*32 + b')/P -4>>endobj\ntrailer<</Root 1 0 R/Encrypt 3 0 R/ID[(a)(a)]>>\n%%EOF'
def pdf_of(w:float, h:float)->bytes:
    return f'%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 {w} {h}]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF'.encode()
def noise(n:int)->bytes: return random.Random(n).randbytes(5000)

deep  = Image.fromarray(np.asarray(BASE).astype(np.uint16)*257)
alpha = Image.merge('LA', (Image.new('L', BASE.size), ImageOps.invert(BASE)))
rgba  = Image.merge('RGBA', (*[Image.new('L', BASE.size)]*3, ImageOps.invert(BASE)))
SAME, LOSSY, NEAR = 0.01, 3, 8 # how far the pixels may be off, on average
P, J, T, W = (partial(saved, f) for f in ('PNG', 'JPEG', 'TIFF', 'WEBP'))

# name -> (bytes, what has to come back: how near to BASE, a size, or words of the error). Of taller_than_said.jpg, libjpeg fills the missing rows with grey, and nothing in the file says so
ZOO = {
 'grey.png': (P(), SAME), 'rgb.png': (P(BASE.convert('RGB')), SAME), 'bilevel.png': (P(BILEVEL), NEAR), 'palette.png': (P(BASE.convert('P')), SAME), 'two_bits.png': (P(BASE.quantize(4)), NEAR),
 'deep.png': (P(deep), SAME), 'alpha.png': (P(alpha), SAME), 'rgba.png': (P(rgba), SAME), 'holes.png': (palette_with_holes(), NEAR), 'grey_trns.png': (P(BASE, transparency=7), 1),
 'turned.png': (P(lying(6), exif=exif(6)), SAME), 'half_height.png': (P(BASE.resize((420, 30)), dpi=(200, 100)), NEAR), 'half_width.png': (P(BASE.resize((210, 60)), dpi=(100, 200)), NEAR),
 'lying_dpi.png': (P(dpi=(1, 300)), SAME), 'apng.png': (animated('PNG'), SAME), 'tail.png': (P() + b'more'*1000, SAME), 'text_bomb.png': (png(420, 60, text_chunk()), 'cannot be decoded'),
 'bomb.png': (png(50_000, 50_000), 'million'), 'wide_bomb.png': (png(2**31 - 1, 1), 'million'), 'zero_wide.png': (png(0, 60), ''), 'no_pixels.png': (png(420, 60, idat=b''), 'cannot be decoded'),
 'few_pixels.png': (png(420, 60), 'cannot be decoded'), 'bad_crc.png': (P().replace(b'IDAT', b'IDAT\xff', 1), 'cannot be decoded'), 'cut_head.png': (P()[:20], 'cannot be decoded'),
 'cut_half.png': (cut(P(), .5), 'cannot be decoded'), 'cut_end.png': (cut(P(), .97), 'cannot be decoded'), 'icc_bomb.png': (png(420, 60, chunk(b'iCCP', b'x\0\0' + zlib.compress(bytes(50_000_000)))), 'cannot be decoded'),
 'grey.jpg': (J(quality=95), LOSSY), 'rgb.jpg': (J(BASE.convert('RGB'), quality=95), LOSSY), 'cmyk.jpg': (J(BASE.convert('CMYK'), quality=95), LOSSY), 'progressive.jpg': (J(progressive=True, quality=95), LOSSY),
 **{f'exif{t}.jpg': (J(lying(t), exif=exif(t), quality=95), LOSSY) for t in range(1, 9)},
 'exif9.jpg': (J(exif=exif(9), quality=95), LOSSY), 'exif_broken.jpg': (J(exif=b'Exif\0\0II*\0\xff\xff\xff\xff', quality=95), LOSSY), 'turned_fax.jpg': (J(lying(6, BASE.resize((420, 30))), exif=exif(6), dpi=(100, 200), quality=95), NEAR),
 'cut_head.jpg': (J()[:30], 'cannot be decoded'), 'cut_half.jpg': (cut(J(), .6), 'cannot be decoded'), 'cut_end.jpg': (cut(J(), .97), 'cannot be decoded'), 'bomb.jpg': (jpeg_of(65_500, 65_500), 'million'), 'taller_than_said.jpg': (jpeg_of(420, 3000), (420, 3000)),
 'g4.tif': (T(BILEVEL, compression='group4'), NEAR), 'g3.tif': (T(BILEVEL, compression='group3'), NEAR), 'ccitt.tif': (T(BILEVEL, compression='tiff_ccitt'), NEAR), 'lzw.tif': (T(compression='tiff_lzw'), SAME), 'deflate.tif': (T(compression='tiff_adobe_deflate'), SAME),
 'packbits.tif': (T(compression='packbits'), SAME), 'jpeg.tif': (T(compression='jpeg', quality=95), LOSSY), 'jpeg_rgb.tif': (T(BASE.convert('RGB'), compression='jpeg', quality=95), LOSSY), 'raw.tif': (plain_tiff(), SAME), 'big_endian.tif': (plain_tiff('>'), SAME),
 'bigtiff.tif': (T(big_tiff=True), SAME), 'palette.tif': (T(BASE.convert('P')), SAME), 'palette_lzw.tif': (T(BASE.convert('P'), compression='tiff_lzw'), SAME), 'deep.tif': (T(deep), SAME), 'deep_lzw.tif': (T(deep, compression='tiff_lzw'), SAME),
 'white_is_zero.tif': (plain_tiff(photometric=0), 'inverted'), 'white_is_zero_g4.tif': (T(BILEVEL, compression='group4', tiffinfo={262: 0}), NEAR), 'white_is_zero_deep.tif': (T(deep, tiffinfo={262: 0}), 'inverted'), 'white_is_zero_lzw.tif': (T(tiffinfo={262: 0}, compression='tiff_lzw'), SAME),
 'cmyk.tif': (T(BASE.convert('CMYK')), SAME), 'cmyk_lzw.tif': (T(BASE.convert('CMYK'), compression='tiff_lzw'), SAME), 'rgba.tif': (T(rgba), SAME), 'alpha.tif': (T(alpha), SAME), 'fax.tif': (T(BASE.resize((420, 29)).convert('1', dither=Image.Dither.NONE), compression='group4', dpi=(204, 98)), 12),
 'pages.tif': (T(save_all=True, append_images=[ImageOps.invert(BASE)]), SAME), 'turned3.tif': (T(lying(3), tiffinfo={274: 3}), SAME), 'turned6.tif': (T(lying(6), tiffinfo={274: 6}), SAME), 'turned8_lzw.tif': (T(lying(8), tiffinfo={274: 8}, compression='tiff_lzw'), SAME),
 'float.tif': (T(BASE.convert('F')), 'floating-point'), 'int32.tif': (T(Image.fromarray(np.asarray(BASE).astype(np.int32)*70000)), 'more than 16 bits'), 'cut_head.tif': (plain_tiff()[:50], 'cannot be decoded'), 'cut_half.tif': (cut(plain_tiff(), .5), 'beyond the end'),
 'cut_one_byte.tif': (plain_tiff()[:-1], 'beyond the end'), 'cut_g4.tif': (cut(T(BILEVEL, compression='group4'), .6), 'cannot be decoded'), 'lying_width.tif': (plain_tiff(width=2**31 - 1), 'million'), 'lying_both.tif': (plain_tiff(width=2**30, height=2**30, rows=2**30), 'million'),
 'lying_height.tif': (plain_tiff(height=100_000), 'rows are missing'), 'lying_offset.tif': (plain_tiff(offset=2**32 - 1), 'beyond the end'), 'lying_count.tif': (plain_tiff(count=2**32 - 1), 'beyond the end'), 'lying_samples.tif': (plain_tiff(per=65535), 'cannot be decoded'),
 'lying_bits.tif': (plain_tiff(bits=64), 'cannot be decoded'), 'lying_fax.tif': (plain_tiff(compression=4, bits=1), None), 'lying_lzw.tif': (plain_tiff(compression=5), 'cannot be decoded'), 'unknown_compression.tif': (plain_tiff(compression=4242), 'cannot be decoded'),
 'loop.tif': (plain_tiff(next=8), SAME), 'nowhere.tif': (b'II*\0\xff\xff\xff\x7f' + bytes(100), 'cannot be decoded'), 'no_tags.tif': (tiff({}), 'cannot be decoded'), 'many_strips.tif': (tiff({256: (4, 1, 420), 257: (4, 1, 60), 273: (4, 2**32 - 1, 8), 279: (4, 2**32 - 1, 8)}), 'cannot be decoded'),
 'lossless.webp': (W(lossless=True), SAME), 'lossy.webp': (W(quality=95), NEAR), 'alpha.webp': (W(rgba, lossless=True), SAME), 'animated.webp': (animated('WEBP', lossless=True), SAME), 'cut.webp': (cut(W(lossless=True), .6), 'cannot be decoded'), 'bomb.webp': (webp_header(16383, 16383), ''),
 'scan.pdf': (saved('PDF', BASE, resolution=200), NEAR), 'cut.pdf': (saved('PDF', BASE)[:300], 'cannot be decoded'), 'locked.pdf': (locked_pdf(), 'cannot be decoded'), 'giant.pdf': (pdf_of(10**6, 10**6), 'million'), 'blank.pdf': (pdf_of(72, 72), (200, 200)),
 'really_jpeg.png': (J(quality=95), LOSSY), 'really_tiff.jpg': (T(compression='tiff_lzw'), SAME), 'really_pdf.tif': (saved('PDF', BASE, resolution=200), NEAR), 'really_gif.png': (animated('GIF'), 'whatever its name says'), 'really_bmp.tif': (saved('BMP'), 'whatever its name says'),
 'a_web_page.tif': (b'<!doctype html><title>Sign in</title>', 'whatever its name says'), 'drawing.png': (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'whatever its name says'), 'noise.png': (noise(0), 'whatever its name says'), 'noise_tiff.tif': (b'II*\0' + noise(1), 'cannot be decoded'),
 'zero.png': (b'', '0 bytes'), 'one_byte.jpg': (b'\xff', 'whatever its name says'), 'dot.png': (P(Image.new('L', (1, 1))), (1, 1)), 'dot_1bit.tif': (T(Image.new('1', (1, 1)), compression='group4'), (1, 1)), 'line_20000x1.png': (P(Image.new('L', (20_000, 1))), (20_000, 1)),
 'line_1x20000.png': (P(Image.new('L', (1, 20_000))), (1, 20_000)), 'strip_20k.tif': (T(Image.new('1', (20_000, 48), 1), compression='group4'), (20_000, 48)), 'tall.tif': (T(Image.new('1', (1700, 40_000), 1), compression='group4'), 'name the rows'),
 'folder.png': (None, 'folder or a pipe'), 'pipe.png': (None, 'folder or a pipe'), 'dangling.png': (None, 'no such file'),
}

READ = """
import json, sys, warnings
from pathlib import Path
import numpy as np
from welllog_ocr.core import DataError
from welllog_ocr.data.scan import read_image, scan_info
warnings.simplefilter('ignore')
folder, out = Path(sys.argv[1]), {}
peak = lambda: next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM'))/1024
base = np.asarray(read_image(folder/'grey.png')).astype(int)
for name in json.loads(sys.stdin.read()):
    before = peak()
    try: scan_info(folder/name)
    except DataError: pass
    try:
        img = read_image(folder/name)
        a   = np.asarray(img.convert('L')).astype(int)
        off = [float(np.abs(x - base).mean()) for x in (a, 255 - a)] if a.shape == base.shape else [1e9, 1e9]
        out[name] = dict(mode=img.mode, size=img.size, off=off)
    except DataError as e: out[name] = dict(error=str(e))
    except BaseException as e: out[name] = dict(crash=f'{type(e).__name__}: {e}')
    out[name]['grew'] = peak() - before
print(json.dumps(dict(found=out, peak=peak())))
"""

@pytest.fixture(scope='module')
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp('zoo')
    for name, (data, _) in ZOO.items():
        if data is not None: (folder/name).write_bytes(data)
    (folder/'folder.png').mkdir()
    os.mkfifo(folder/'pipe.png')
    (folder/'dangling.png').symlink_to(folder/'gone.png')
    return folder

@pytest.fixture(scope='module')
def visit(zoo):
    "What a process of its own made of each, and how much memory that took"
    done = subprocess.run([sys.executable, '-c', READ, str(zoo)], input=json.dumps(list(ZOO)), capture_output=True, text=True, env=os.environ | dict(PYTHONPATH=str(ROOT)), timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)

def test_the_zoo_is_large(): assert len(ZOO) >= 60

@pytest.mark.parametrize('name', ZOO)
def test_each_is_read_or_refused(visit, name):
    found, want = visit['found'][name], ZOO[name][1]
    assert 'crash' not in found, found['crash']
    if want is None: return # rubbish that the fax decoder takes for a picture
    if isinstance(want, str) and want != 'inverted':
        assert want in found.get('error', 'was read'), found
        assert name.partition('.')[0] in found['error'], 'the file is not named'
    else:
        assert 'error' not in found, found['error']
        assert found['mode'] in ('L', 'RGB')
        if isinstance(want, tuple): assert tuple(found['size']) == want
        else: assert found['off'][want == 'inverted'] <= (SAME if want == 'inverted' else want), found

def test_the_whole_zoo_stays_below_a_gigabyte(visit):
    worst = max(visit['found'], key=lambda n: visit['found'][n]['grew'])
    assert visit['peak'] < 1000, f"{visit['peak']:.0f} MB, most of it {worst}"

def test_the_zoo_as_a_data_set(zoo):
    "The good ones are samples, the bad ones are skips, and nobody is missing"
    from welllog_ocr.files import write_jsonl
    from welllog_ocr.data.load import load_split
    write_jsonl(zoo/'metadata.jsonl', [dict(file_name=n, text='FIELD WILDCAT') for n in ZOO])
    samples, skips = load_split(zoo)
    assert len(samples) + len(skips) == len(ZOO)
    good = {n for n, (_, want) in ZOO.items() if want == 'inverted' or want is None or not isinstance(want, str)}
    assert {s.id for s in samples} == good
    for s in samples: assert s.image.size == s.size

@pytest.mark.parametrize('name', [n for n, (data, want) in ZOO.items() if data and n.endswith('.tif') and not isinstance(want, str) and want is not None])
def test_a_region_is_a_part_of_the_whole(zoo, name):
    from welllog_ocr.data.scan import read_image, read_region
    whole = np.asarray(read_image(zoo/name)).astype(int)
    top, n = whole.shape[0]//3, max(1, whole.shape[0]//2)
    part = np.asarray(read_region(zoo/name, top, n)).astype(int)
    assert np.abs(part - whole[top:top + n]).mean() <= (6 if name == 'fax.tif' else SAME) # a fax is smoothed at the cut

@pytest.mark.parametrize('way', ['TIFF in tiles', 'tall PNG', 'tall JPEG'])
def test_what_only_libvips_can_cut(tmp_path, way):
    from welllog_ocr.data.scan import read_region
    strip = np.asarray(BASE.resize((1700, 500)))
    tall  = np.tile(strip, (80, 1))
    path  = tmp_path/'tall'
    if way == 'TIFF in tiles':
        pyvips = pytest.importorskip('pyvips')
        pyvips.Image.new_from_array(tall).tiffsave(str(path), tile=True, compression='lzw')
    else: Image.fromarray(tall).save(path, 'PNG' if 'PNG' in way else 'JPEG', **(dict(compress_level=1) if 'PNG' in way else dict(quality=95)))
    assert np.abs(np.asarray(read_region(path, 20_000, 500)).astype(int) - strip).mean() < LOSSY

def test_without_pyvips_it_says_what_is_missing(tmp_path, monkeypatch):
    import importlib.util
    from welllog_ocr.core import SetupError
    from welllog_ocr.data.scan import read_region
    path = tmp_path/'tall.png'
    Image.new('L', (1700, 40_000)).save(path, compress_level=1)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *args: None if name == 'pyvips' else real(name, *args))
    with pytest.raises(SetupError, match='pip install pyvips'): read_region(path, 0, 100)

@pytest.mark.parametrize('fmt', ['PNG', 'JPEG', 'TIFF', 'WEBP', 'PDF'])
def test_flipped_bytes_never_crash(fmt):
    from welllog_ocr.core import DataError
    from welllog_ocr.data.scan import read_image, read_region, scan_info
    rng, data = random.Random(fmt), saved(fmt, BILEVEL, compression='group4') if fmt == 'TIFF' else saved(fmt)
    for _ in range(150):
        bad = bytearray(data)
        for _ in range(rng.choice((1, 3, 10))): bad[int(len(bad)*rng.random()**2)] = rng.randrange(256) # more of them at the start
        for read in (scan_info, read_image, partial(read_region, top=3, height=9)):
            try: read(bytes(bad))
            except DataError: pass

# What users of other tools met

def with_tags(data:bytes, *tags)->bytes:
    "A little-endian TIFF with more tags (tag, type, count, value) in its first directory, which moves to the end"
    at, = struct.unpack('<I', data[4:8])
    n, = struct.unpack('<H', data[at:at + 2])
    entries = {data[k:k + 2][::-1]: data[k:k + 12] for k in range(at + 2, at + 2 + 12*n, 12)} | {struct.pack('>H', t[0]): struct.pack('<HHII', *t) for t in tags}
    return data[:4] + struct.pack('<I', len(data)) + data[8:] + struct.pack('<H', len(entries)) + b''.join(v for _, v in sorted(entries.items())) + data[at + 2 + 12*n:at + 6 + 12*n]

def rows_of(w:int, h:int)->Image.Image:
    "A log with a number in every hundred rows"
    img = Image.new('L', (w, h), 255)
    for y in range(0, h, 100): ImageDraw.Draw(img).text((20, y), f'row {y} LATEROLOG', fill=0, font_size=60)
    return img

@pytest.fixture(scope='module')
def log(): return rows_of(900, 9000).convert('1')

@pytest.fixture
def small_limit(monkeypatch): monkeypatch.setattr('welllog_ocr.data.scan.MAX_PIXELS', 5_000_000)

def turned(data:bytes, turn:int)->bytes: return with_tags(data, (274, 3, 1, turn))

@pytest.mark.parametrize('turn', range(2, 9))
def test_a_tall_scan_with_an_orientation_is_read_in_part(log, turn, small_limit):
    from welllog_ocr.data.scan import read_region, scan_info
    data = turned(saved('TIFF', lying(turn, log), compression='group4'), turn)
    assert scan_info(data).size == log.size
    for top in (0, 4007, 8500): assert np.array_equal(np.asarray(read_region(data, top, 1050)), np.asarray(log.crop((0, top, 900, min(9000, top + 1050))).convert('L')))

@pytest.mark.parametrize('turn', (3, 6))
def test_a_tall_jpeg_with_an_orientation_is_read_in_part(turn, small_limit):
    from welllog_ocr.data.scan import read_region
    img = rows_of(1100, 6000)
    part = read_region(saved('JPEG', lying(turn, img), quality=95, exif=exif(turn)), 3000, 300)
    assert np.abs(np.asarray(part).astype(int) - np.asarray(img.crop((0, 3000, 1100, 3300)))).mean() < LOSSY

@pytest.mark.parametrize('tag', [(34665, 13, 1, 8), (330, 13, 1, 8), (40_000, 99, 5, 9), (40_000, 0, 2**31, 9), (65_000, 7, 2**31, 8)])
def test_tags_of_any_type_are_passed_over(log, tag):
    from welllog_ocr.data.scan import read_region
    data = saved('TIFF', log, compression='group4')
    assert np.array_equal(np.asarray(read_region(with_tags(data, tag), 500, 700)), np.asarray(read_region(data, 500, 700)))

@pytest.mark.parametrize('mark', [(254, 4, 1, 1), (254, 3, 1, 1), (254, 4, 1, 4), (255, 3, 1, 2)])
def test_a_reduced_picture_is_no_page(mark):
    from welllog_ocr.data.scan import read_image, read_region, scan_info
    small, two = BASE.resize((84, 12)), ImageOps.invert(BASE)
    def chain(*pages): # each a TIFF of its own at first: its offsets are moved
        out, last = b'II*\0\0\0\0\0', 4
        for img, marks in pages:
            at, strip = len(out), np.asarray(img).tobytes()
            tags = {256: (4, 1, img.width), 257: (4, 1, img.height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, at), 277: (3, 1, 1), 278: (4, 1, img.height), 279: (4, 1, len(strip))} | {m[0]: m[1:] for m in marks}
            out = out[:last] + struct.pack('<I', at + len(strip)) + out[last + 4:] + strip + struct.pack('<H', len(tags)) + b''.join(struct.pack('<HHII', t, *v) for t, v in sorted(tags.items())) + bytes(4)
            last = len(out) - 4
        return out
    data = chain((small, [mark]), (BASE, []), (small, [mark]), (two, [(254, 4, 1, 2)]))
    assert scan_info(data).pages == 2
    for n, img in enumerate((BASE, two)):
        assert np.array_equal(np.asarray(read_image(data, n)), np.asarray(img)) and np.array_equal(np.asarray(read_region(data, 5, 20, n)), np.asarray(img)[5:25])
    assert scan_info(chain((small, [mark]))).size == (84, 12) # alone, it is the scan

def drawn_pdf(size:tuple, *pictures, form=False)->bytes:
    "A page in points with pictures: (left, bottom, width, height) and pixels across; form: they stand in a form that is scaled by 1/10"
    do = lambda k, box, s: f'q {box[2]*s} 0 0 {box[3]*s} {box[0]*s} {box[1]*s} cm /I{k} Do Q '
    names, s = ' '.join(f'/I{k} {k + 6} 0 R' for k in range(len(pictures))), 10 if form else 1
    what  = ''.join(do(k, box, s) for k, (box, _) in enumerate(pictures))
    page  = 'q .1 0 0 .1 0 0 cm /F Do Q' if form else what
    stream = lambda head, body: f'<<{head}/Length {len(body)}>>stream\n{body}\nendstream'
    objects = ['<</Type/Catalog/Pages 2 0 R>>', '<</Type/Pages/Kids[3 0 R]/Count 1>>', f'<</Type/Page/Parent 2 0 R/MediaBox[0 0 {size[0]} {size[1]}]/Contents 4 0 R/Resources<</XObject<</F 5 0 R {names}>>>>>>',
               stream('', page), stream(f'/Type/XObject/Subtype/Form/BBox[0 0 99999 99999]/Resources<</XObject<<{names}>>>>', what),
               *(stream(f'/Type/XObject/Subtype/Image/Width {n}/Height {round(n*box[3]/box[2])}/ColorSpace/DeviceGray/BitsPerComponent 8/Filter/ASCIIHexDecode', '00>') for box, n in pictures)]
    return ('%PDF-1.4\n' + ''.join(f'{n} 0 obj\n{o}\nendobj\n' for n, o in enumerate(objects, 1)) + 'trailer<</Root 1 0 R>>\n%%EOF').encode()

LETTER = 612, 792
@pytest.mark.parametrize('data, dpi', [
    (drawn_pdf(LETTER, ((500, 700, 36, 36), 1600)), 200),                                                       # a logo alone
    (drawn_pdf(LETTER, ((0, 0, 612, 792), 2550), ((500, 700, 36, 36), 1600)), 300),                             # a scan and a logo
    (drawn_pdf(LETTER, *(((0, y, 612, 36), 2550) for y in range(0, 792, 36))), 300),                            # a scan in bands
    (drawn_pdf(LETTER, ((0, 0, 612, 792), 850), ((30, 30, 550, 700), 2292)), 300),                              # background and letters
    (drawn_pdf(LETTER, ((500, 700, 2000, 2000), 20_000)), 200),                                                 # most of it is off the page
    (drawn_pdf(LETTER, ((0, 0, 612, 792), 2550), ((500, 700, 36, 36), 1600), form=True), 300),                  # the same in a form
    (drawn_pdf((2592, 3456)), 186.2), (drawn_pdf((14_400, 14_400)), 38.7), (drawn_pdf((612, 14_000)), 190.4),     # drawings, up to 5 m
    (drawn_pdf((2592, 3456), ((0, 0, 2592, 3456), 14_400)), 186.2), (drawn_pdf((612, 14_400), ((0, 0, 612, 14_400), 2550)), 300)])
def test_what_covers_a_page_decides_how_finely_it_is_drawn(data, dpi):
    from welllog_ocr.data.scan import MAX_PIXELS, read_region, scan_info
    info = scan_info(data)
    assert info.dpi == pytest.approx(dpi, abs=.1)
    w, h = info.size
    assert w*min(h, int(2.5*w)) <= MAX_PIXELS and read_region(data, 0, 20).size == (w, 20)

@pytest.mark.parametrize('ink, paper, dark', [((255,)*3, 0, True), ((240, 230, 40), 0, True), ((0,)*3, 0, True), ((120,)*3, 0, True), ((0,)*3, 255, True)])
@pytest.mark.parametrize('fmt, mode', [('PNG', 'RGBA'), ('PNG', 'LA'), ('TIFF', 'RGBA'), ('WEBP', 'RGBA')])
def test_ink_on_transparency_is_dark_on_light(ink, paper, dark, fmt, mode):
    from welllog_ocr.data.scan import read_image
    letters = ImageOps.invert(BASE)
    img = Image.composite(Image.new('RGB', BASE.size, ink), Image.new('RGB', BASE.size, 'white'), letters)
    img.putalpha(letters if not paper else 255)
    a = np.asarray(read_image(saved(fmt, img.convert(mode), lossless=True) if fmt == 'WEBP' else saved(fmt, img.convert(mode))).convert('L')).astype(int)
    inked = np.asarray(letters) > 200
    assert a[~(np.asarray(letters) > 20)].min() > 230 and a[inked].mean() < 140

class Remote(io.BytesIO):
    "Counts the bytes that are asked for"
    def __init__(self, data): super().__init__(data); self.asked = 0
    def read(self, n=-1):
        out = super().read(n)
        self.asked += len(out)
        return out

FAR = [dict(compression=c) for c in ('group4', 'group3', 'tiff_lzw', 'packbits', 'tiff_adobe_deflate', 'jpeg')] + [{}, dict(compression='group4', dpi=(204, 98)), dict(compression='group4', big_tiff=True), dict(compression='tiff_lzw', tiffinfo={278: 16})]
@pytest.mark.parametrize('kw, turn', [(kw, 1) for kw in FAR] + [(FAR[0], turn) for turn in (2, 3, 4)] + [(FAR[7], 3)])
def test_the_header_of_a_log_far_away(log, kw, turn):
    from welllog_ocr.data.orient import find_header
    from welllog_ocr.data.scan import header_bytes, read_region, scan_info
    img  = lying(turn, ImageOps.pad(log, (900, 18_000), color=1, centering=(0, 0)))
    data = saved('TIFF', img.convert('L') if kw.get('compression') == 'jpeg' else img, **kw)
    if turn > 1: data = turned(data, turn)
    part = header_bytes(file := Remote(data))
    assert len(part) < .3*len(data) and file.asked < .3*len(data) + 9000
    assert scan_info(part) == scan_info(data) and find_header(part) == find_header(data)
    n = int(2.5*scan_info(data).size[0])
    assert np.array_equal(np.asarray(read_region(part, 0, n)), np.asarray(read_region(data, 0, n)))

def test_what_has_to_be_fetched_as_a_whole(log):
    from welllog_ocr.core import ImageError
    from welllog_ocr.data.scan import header_bytes
    g4 = partial(saved, 'TIFF', compression='group4')
    part = log
    for data in (saved('PNG'), g4(BILEVEL), g4(part, tiffinfo={278: 9000}), g4(part, save_all=True, append_images=[part]), turned(g4(lying(6, part)), 6), b''): assert header_bytes(io.BytesIO(data)) is None
    with pytest.raises(ImageError, match='far.tif: .* cut off'): header_bytes(io.BytesIO(cut(saved('TIFF', part), .6)), 'far.tif')
