"""Which of several runs is better, and is the difference real?

    python scripts/compare_experiments.py runs/quick_val runs/other [--metrics cer wer] [--html page.html]

The same as python -m welllog_ocr.compare, from any folder and with the environment of the project; --help lists all options.
"""
import os, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT/'.venv'/'bin'/'python'

if __name__ == '__main__':
    python = str(PYTHON) if PYTHON.exists() else sys.executable
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    os.execv(python, [python, '-m', 'welllog_ocr.compare', *sys.argv[1:]])
