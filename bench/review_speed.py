"""How fast the inspector opens on ten thousand samples, and goes to the next one: python bench/review_speed.py"""
import json, shutil, sys, tempfile, time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
start = time.perf_counter()
from welllog_ocr.inspector import inspect
imported = time.perf_counter() - start
from welllog_ocr.files import write_json, write_jsonl
from welllog_ocr.data.load import load_eval
from welllog_ocr.synth import SynthLines

N, SEEN = 10_000, 2_000

def make(folder):
    "A run that was evaluated on `N` lines, `SEEN` of them reviewed; the pictures are 100, under other names"
    (folder/'lines'/'eval').mkdir(parents=True), (folder/'run'/'eval').mkdir(parents=True)
    lines = list(SynthLines(100, 'bench'))
    for i, s in enumerate(lines): s.image.save(folder/'lines'/'eval'/f'{i}.png')
    for i in range(100, N): (folder/'lines'/'eval'/f'{i}.png').hardlink_to(folder/'lines'/'eval'/f'{i % 100}.png')
    write_jsonl(folder/'lines'/'eval'/'metadata.jsonl', [dict(file_name=f'{i}.png', text=f'{lines[i % 100].text} {i}') for i in range(N)])
    samples, _ = load_eval(folder/'lines')
    write_json(folder/'run'/'config.json', dict(data_path=str(folder/'lines'), output_dir=str(folder), experiment_name='run'))
    write_jsonl(folder/'run'/'eval'/'step-00000050.jsonl', [dict(id=s.id, digest=s.digest[:16], reference=s.text, prediction=s.text.replace('1', '7'), loss=i*7919 % N/N, cer=.1, wer=.2, confidence=.5, style='typed', kind='line',
                losses=[.1]*(len(s.text) + 1), scores=[.9]*len(s.text), info=dict(dpi=200)) for i, s in enumerate(samples)])
    rows = [dict(key=s.digest[:16], state='fixed', text=s.text + 'x', old=s.text, id=s.id, who='bench', line=f'{i:012x}') for i, s in enumerate(samples[:SEEN])]
    (folder/'run'/'review.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in rows))

def main():
    folder = Path(tempfile.mkdtemp())
    try:
        make(folder)
        start = time.perf_counter()
        w = inspect(folder/'run', who='bench')
        print(f'open {N} samples, {SEEN} of them reviewed: {time.perf_counter() - start:.2f} s (and {imported:.2f} s to import)')
        answered = []
        w.send = lambda msg: answered.append(time.perf_counter()) # the answer goes out before the next picture is read ahead
        def ask(what, **more):
            start = time.perf_counter()
            w.hear(w, dict(do=what, n=1, **more))
            return (answered[-1] - start)*1000
        for name, each in (('next', lambda: ask('go', by=1)), ('jump', lambda: ask('go', by=997)), ('drop and next', lambda: ask('drop', key=w.item['key'])), ('fix and next', lambda: ask('fix', key=w.item['key'], text='KB 912')), ('undo', lambda: ask('undo'))):
            times = [each() for _ in range(100)]
            print(f'{name}: {median(times):.0f} ms, worst of 100 {max(times):.0f} ms')
        print(f'order by text: {ask("sort", column="text", up=True):.0f} ms; filter style:typed loss>.5 12: {ask("filter", text="style:typed loss>.5 12", which="todo"):.0f} ms')
    finally: shutil.rmtree(folder)

if __name__ == '__main__': main()
