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
def reliability():
    "Called with (fault, tried, recovered, bit-exact) by the tests of the soak: a row of RELIABILITY.md"
    return lambda *row: TABLE.append(row)

def pytest_sessionfinish(session, exitstatus):
    if not TABLE: return
    lines = ['| fault | tried | recovered | bit-exact |', '| --- | ---: | ---: | --- |', *(f'| {" | ".join(map(str, row))} |' for row in TABLE)]
    print('\n\n' + '\n'.join(lines))
    if exitstatus == 0 and session.config.option.markexpr == 'soak' and len(TABLE) > 30: # a whole soak, not a part of it, nor the shares of CI
        text = '# Reliability\n\nWritten by `pytest -m soak`: each fault as it was injected, how often, and what came of it.\n\n'
        path = ROOT/'RELIABILITY.md'
        met  = path.read_text(encoding='utf-8').partition('\n## ')[1:] # what people met is written by hand
        path.write_text(text + '\n'.join(lines) + '\n' + ''.join(met), encoding='utf-8')
