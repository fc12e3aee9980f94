"""What signs of life cost: a forward and a backward pass with and without the hook that the supervisor's worker has on every module.

    python bench/supervisor_cost.py [--repeats 40]

In turn, in seconds of the processor, so that a busy machine disturbs little; the medians are compared. The model is the smallest one, on which a hook weighs most; and for the line model that comes with the package.
"""
import argparse, os, statistics, tempfile, time
from pathlib import Path

from torch.nn.modules.module import register_module_forward_pre_hook

from welllog_ocr.models.core import load_recogniser
from welllog_ocr.models.ctc import tiny_ctc
from welllog_ocr.supervisor import Beat
from welllog_ocr.synth import write_folder
from welllog_ocr.data.load import load_eval

def seconds(rec, batch)->float:
    start = time.process_time()
    sums, _ = rec(batch)
    sums.sum().backward()
    return time.process_time() - start

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--repeats', type=int, default=40)
    args = p.parse_args()
    folder = Path(tempfile.mkdtemp())/'lines'
    write_folder(folder, n=24)
    samples = load_eval(folder)[0][:2]
    read, write = os.pipe()
    for name, rec in (('tiny', tiny_ctc(''.join(map(chr, range(32, 127))))), ('PP-OCRv6-small', load_recogniser('PP-OCRv6-small'))):
        rec.eval()
        batch, bare, hooked = rec.collate(samples), [], []
        for k in range(2*args.repeats):
            hook = register_module_forward_pre_hook(Beat(write)) if k % 2 else None
            (hooked if k % 2 else bare).append(seconds(rec, batch))
            if hook: hook.remove()
        a, b = statistics.median(bare[2:]), statistics.median(hooked[2:])
        print(f'{name}: {1000*a:.1f} ms bare, {1000*b:.1f} ms with signs of life, {b/a - 1:+.1%}')

if __name__ == '__main__': main()
