import os, shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent/'shared'/'data'/'real_headers'/'lines' # real header lines; not part of the project

os.environ['TQDM_DISABLE'] = '1'

@pytest.fixture
def real_lines():
    if not REAL.is_dir(): pytest.skip(f'needs real header lines, which are not part of the project; looked in {REAL.parent.parent.parent.name}/')
    return REAL

@pytest.fixture
def drawn(tmp_path):
    "A small folder of drawn lines"
    from welllog_ocr.synth import write_folder
    write_folder(tmp_path/'lines', n=24)
    return tmp_path/'lines'

@pytest.fixture(scope='module')
def make():
    "Called with a folder, it puts a tiny line recogniser there; a test file that is about another model has a `make` of its own"
    from runs import make_model
    return make_model

@pytest.fixture(scope='module')
def place(make, tmp_path_factory):
    "A folder with a tiny model in it, made once"
    folder = tmp_path_factory.mktemp('place')
    make(folder)
    return folder

@pytest.fixture
def home(place, tmp_path):
    "A folder of the test's own, with the tiny model"
    shutil.copytree(place/'model', tmp_path/'model')
    return tmp_path

def share(ci, full):
    "Marks a test that is tried `n` times: `ci` times, and `full` times in a soak"
    return pytest.mark.parametrize('n', [ci, pytest.param(full, marks=pytest.mark.soak)])

TABLE = []

@pytest.fixture
def reliability(request):
    "Called with (fault, tried, recovered, bit-exact) by the tests of the soak: a row of RELIABILITY.md"
    from welllog_ocr import __version__
    return lambda *row: TABLE.append((*row, f'`{request.node.path.name}::{request.node.originalname}`', __version__))

def fault_of(line): return line.removeprefix('| ').partition(' | ')[0]

def pytest_sessionfinish(session, exitstatus):
    "A row takes the place of the one of the same fault, or comes behind the others; what stands beside the table is written by hand"
    rows = [f'| {" | ".join(map(str, row))} |' for row in TABLE]
    if rows: print('\n\n' + '\n'.join(rows))
    if not rows or session.config.option.markexpr != 'soak': return # the shares of CI
    from welllog_ocr.files import locked
    with locked(path := ROOT/'RELIABILITY.md'), open(path, 'r+', encoding='utf-8') as f:
        lines, new = f.read().splitlines(), {fault_of(r): r for r in rows}
        lines = [new.pop(fault_of(line), line) for line in lines]
        end = next(n for n, line in enumerate(lines) if n and line == '' and lines[n - 1].startswith('|'))
        f.seek(0), f.truncate(), f.write('\n'.join([*lines[:end], *new.values(), *lines[end:], '']))
