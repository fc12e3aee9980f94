"""How much room the package and its extras take, and how long a command takes to its first page.

    python bench/install.py [--extras tables review catalog ...] [--scan SHEET --model headers.onnx] [--rounds 3]

Each environment is made anew from `constraints.txt`. `more` is what an extra adds to the package alone. With --scan, a sheet is read by the package alone: from the start of the command to its end.
"""
import argparse, subprocess, sys, tempfile, time
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parent.parent

def size(folder:Path)->float:
    "Megabytes on disk; a file with two names counts once"
    seen = {(s.st_dev, s.st_ino): s.st_blocks*512 for p in folder.rglob('*') if not p.is_symlink() for s in [p.stat()]}
    return sum(seen.values())/2**20

def install(folder:Path, extra:str='')->Path:
    subprocess.run([sys.executable, '-m', 'venv', folder], check=True)
    what = f'{ROOT}[{extra}]' if extra else str(ROOT)
    subprocess.run([folder/'bin'/'pip', 'install', '-q', '-c', ROOT/'constraints.txt', what], check=True, stderr=subprocess.DEVNULL)
    return folder

def first_page(env:Path, args, tmp:Path)->float:
    def once(n):
        begin = time.monotonic()
        subprocess.run([env/'bin'/'python', '-m', 'welllog_ocr.predict', args.scan, '--model', args.model, '--kind', 'page', '--output', tmp/f'{n}.jsonl'],
                       check=True, capture_output=True, cwd=tmp)
        return time.monotonic() - begin
    return min(map(once, range(args.rounds)))

if __name__ == '__main__':
    cfg = ConfigParser(delimiters=['='])
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    extras = [k.removesuffix('_requirements') for k in cfg['DEFAULT'] if k.endswith('_requirements') and not k.startswith('dev')]
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--extras', nargs='*', default=extras, choices=extras)
    p.add_argument('--scan')
    p.add_argument('--model')
    p.add_argument('--rounds', type=int, default=3)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        env = install(tmp/'base')
        alone = size(env)
        print(f'| environment | MB | more |\n|---|---|---|\n| the package alone | {alone:.0f} | |', flush=True)
        if args.scan: print(f'| its first page | | {first_page(env, args, tmp):.1f} s |', flush=True)
        for extra in args.extras:
            with tempfile.TemporaryDirectory() as other:
                n = size(install(Path(other)/'env', extra))
                print(f'| {extra} | {n:.0f} | {n - alone:.0f} |', flush=True)
