"""Every file of tests as `pytest FILE` runs it, two at a time: python tests/two_at_a_time.py LOGS [OPTION ...] < FILES

Each has a process of its own: a fork of this one, which has imported what takes seconds."""
import gc, os, sys
from pathlib import Path

import pytest

def import_ahead():
    "What most of the files import; `runs` is not among it, since it changes a callback"
    import accelerate, cv2, datasets, hypothesis.strategies, matplotlib.backends.backend_agg, matplotlib.figure # pytest would rewrite all of hypothesis in each process
    from transformers import AutoModelForTextRecognition, PPOCRV6SmallRecForTextRecognition, PPOCRV6SmallRecImageProcessor
    import welllog_ocr.doctor, welllog_ocr.inspector, welllog_ocr.predict, welllog_ocr.synth, welllog_ocr.train
    gc.collect(), gc.freeze() # a fork neither searches all of this for garbage nor copies its pages for that

def start(file, logs, options):
    "The process that runs the tests of a file; what it says is in FILE.log, its exit status in FILE.status"
    if pid := os.fork(): return pid
    log = os.open(logs/f'{file.stem}.log', os.O_WRONLY | os.O_CREAT)
    for fd in (0, 1, 2): os.dup2(log if fd else os.open(os.devnull, os.O_RDONLY), fd)
    late = 'ignore:Module already imported:pytest.PytestAssertRewriteWarning' # plugins; none is ours
    status = int(pytest.main(['-q', '-p', 'no:cacheprovider', '-W', late, str(file), *options]))
    (logs/f'{file.stem}.status').write_text(str(0 if status == 5 else status)) # 5: every test of it is left out by a mark
    sys.exit(status)

def end(running, logs):
    "Wait for one of the processes"
    file = running.pop(os.wait()[0])
    lines = (logs/f'{file.stem}.log').read_text(errors='replace').splitlines()
    print(f'{file}: {lines[-1] if lines else "it ended without a word"}', flush=True)

if __name__ == '__main__':
    logs, options, files, running = Path(sys.argv[1]), sys.argv[2:], map(Path, sys.stdin.read().split()), {}
    import_ahead()
    for file in files:
        if len(running) == 2: end(running, logs)
        running[start(file, logs, options)] = file
    while running: end(running, logs)
