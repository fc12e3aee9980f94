import os
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
