"""What reading an archive in parts costs, whether its memory stays flat, and how a million pages behave.

    python bench/archive.py overhead --model runs/quick_val/best [--pages 20000] [--rounds 1] [--ways plain ray]
    python bench/archive.py memory --model runs/quick_val/best [--pages 100000] [--engine ray|shard]
    python bench/archive.py million [--pages 1000000] [--share 0.7]

`overhead` and `memory` read pictures of drawn lines, 24 pixels high, so that what stands around the reading weighs most; plain predict, the processes of `--shard 1/1` and Ray read the same files on the same cores, one after the other, each from the start of its command to its end. `memory` adds up what the command
and all that it started hold (PSS: shared pages count once) every two seconds. `million` reads nothing: the rows are simulated ones of true size (29 kB); printed are the time and the largest memory of planning, of starting again after 70 %, and of gathering.
"""
import argparse, json, os, resource, subprocess, sys, tempfile, time
from pathlib import Path

def make_lines(folder:Path, n:int):
    "Pictures of lines: 500 that are drawn, under many names"
    from welllog_ocr.draw.line import SynthLines
    folder.mkdir(parents=True)
    drawn = []
    for i, s in enumerate(SynthLines(min(n, 500), seed=1)):
        img = s.image.convert('L')
        img.resize((max(1, round(img.width*24/img.height)), 24)).save(folder/f'{i:06}.png')
        drawn.append((folder/f'{i:06}.png').read_bytes())
    for i in range(len(drawn), n): (folder/f'{i:06}.png').write_bytes(drawn[i % len(drawn)])

WAYS = dict(plain=('--kind', 'line'), shard=('--kind', 'line', '--shard', '1/1'), ray=('--kind', 'line', '--engine', 'ray'))

def start(way:str, model:str, scans:Path, out:Path)->subprocess.Popen:
    output = f'{out}.jsonl' if way == 'plain' else str(out)
    return subprocess.Popen([sys.executable, '-m', 'welllog_ocr.predict', str(scans), '--model', model, '--output', output, *WAYS[way]],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)

def overhead(args, tmp:Path):
    make_lines(tmp/'in', args.pages)
    best = {}
    for n in range(args.rounds):
        for way in args.ways:
            begin = time.monotonic()
            process = start(way, args.model, tmp/'in', tmp/f'{way}{n}')
            said = process.communicate()[0]
            assert process.returncode == 0, said
            best[way] = min(best.get(way, 1e9), time.monotonic() - begin)
    print('| way | seconds | pages a second | against plain |\n|---|---|---|---|')
    for way, s in best.items(): print(f'| {way} | {s:.0f} | {args.pages/s:.0f} | {s/best["plain"]:.2f} |')

def held(session:int, mark:str)->int:
    "Bytes of a command and all that it started"
    total = 0
    for p in Path('/proc').glob('[0-9]*'):
        try:
            if os.getsid(int(p.name)) != session and mark.encode() not in (p/'environ').read_bytes(): continue
            total += next(int(l.split()[1]) for l in (p/'smaps_rollup').read_text().splitlines() if l.startswith('Pss:'))*1024
        except (OSError, StopIteration): pass
    return total

def memory(args, tmp:Path):
    make_lines(tmp/'in', args.pages)
    os.environ['ARCHIVE_BENCH'] = tmp.name
    process = start(args.engine, args.model, tmp/'in', tmp/'out')
    begin, seen, done = time.monotonic(), [], lambda: sum(1 for _ in (tmp/'out'/'parts').glob('*.parquet')) if (tmp/'out'/'parts').exists() else 0
    planned = None
    while process.poll() is None:
        if planned is None and (tmp/'out'/'plan').exists():
            import pyarrow.parquet as pq
            files = [p for p in (tmp/'out'/'plan').glob('*.parquet') if not p.name.startswith('.')]
            if files: planned = len(set(pq.read_table(files[0])['part'].to_pylist()))
        seen.append((time.monotonic() - begin, done()/(planned or 1), held(process.pid, f'ARCHIVE_BENCH={tmp.name}')))
        time.sleep(2)
    print(process.stdout.read())
    first = [m for _, d, m in seen if d*args.pages >= 2000]
    print('| read | memory, MB |\n|---|---|')
    for share in (.02, .1, .25, .5, .75, .9, 1):
        near = [m for _, d, m in seen if abs(d - share) < .02]
        if near: print(f'| {share:.0%} | {sum(near)/len(near)/2**20:.0f} |')
    k = max(1, len(first)//10)
    a, b = sum(first[:k])/k, sum(first[-k - 2:-2])/k
    print(f'largest {max(m for *_, m in seen)/2**20:.0f} MB; last tenth against the first after 2,000 pages: {b/a:.2f}')

def simulated():
    "The JSON of 100 pages"
    sys.path.insert(0, str(Path(__file__).parent))
    from catalog import page
    return [page(i) for i in range(100)]

PHASES = '''import json, sys, time
sys.path.insert(0, sys.argv[3])
from archive import phase
phase(*sys.argv[1:3], int(sys.argv[4]), float(sys.argv[5]))
'''

def phase(name:str, folder:str, n:int, share:float):
    "One step, in a process of its own"
    from welllog_ocr.archive.plan import finish, gather, open_plan
    from welllog_ocr.archive.store import StoredScan, open_store
    from welllog_ocr.archive.work import Schedule
    begin = time.monotonic()
    plan = open_plan(open_store(folder), dict(model='simulated@1', how='page'))
    listed = lambda: [StoredScan(f'county {i % 254:03}/box {i % 997:03}/{i:07}.tif', 4_000_000 + i, 10**18 + i) for i in range(n)]
    if name == 'plan': said = f'{plan.update(listed()):,} scans in {sum(1 for _ in plan.parts()):,} parts'
    elif name in ('read', 'rest'):
        todo, rows = list(Schedule(plan).todo), [json.loads(l) for l in (Path(folder)/'rows.jsonl').read_text().splitlines()]
        for part in todo[:round(len(todo)*share)] if name == 'read' else todo:
            finish(plan.store, part.name, [(s.place, rows[k % len(rows)] | dict(file=s.place, place=s.place)) for k, s in enumerate(part.scans)])
        said = 'simulated'
    elif name == 'resume':
        plan.update(listed())
        said = f'{len(Schedule(plan).todo):,} parts left'
    elif name == 'gather': said = str(gather([plan]).state())
    elif name == 'rows': said = f'{sum(1 for _ in gather([plan]).rows()):,} rows as predict gives them'
    size = sum(p.stat().st_size for p in Path(folder).rglob('*') if p.is_file())
    print(f'| {name} | {said} | {time.monotonic() - begin:.0f} | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**10:.0f} | {size/2**30:.1f} |', flush=True)

def million(args, tmp:Path):
    (tmp/'out').mkdir()
    with open(tmp/'out'/'rows.jsonl', 'w') as f:
        for r in simulated(): print(json.dumps(r), file=f)
    print('| step | | seconds | memory, MB | on disk, GB |\n|---|---|---|---|---|', flush=True)
    for name in ('plan', 'read', 'resume', 'rest', 'gather', 'rows'):
        subprocess.run([sys.executable, '-c', PHASES, name, str(tmp/'out'), str(Path(__file__).parent), str(args.pages), str(args.share)], check=True)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=('overhead', 'memory', 'million'))
    p.add_argument('--model')
    p.add_argument('--pages', type=int)
    p.add_argument('--rounds', type=int, default=1)
    p.add_argument('--engine', default='ray', choices=('ray', 'shard'))
    p.add_argument('--ways', nargs='+', default=list(WAYS), choices=list(WAYS), help='plain among them')
    p.add_argument('--share', type=float, default=.7)
    args = p.parse_args()
    args.pages = args.pages or dict(overhead=20_000, memory=100_000, million=1_000_000)[args.what]
    with tempfile.TemporaryDirectory() as tmp: globals()[args.what](args, Path(tmp))
