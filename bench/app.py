"""The page to drop scans on, under load: python bench/app.py MODEL SCANS [--rounds 3]

In each round five clients drop four scans each at once: three by the API, two in a browser. One of each kind is killed half-way. It is said how many of
the others were answered, what the processes of the server hold in memory after each round, and what is left on the disk."""
import argparse, json, os, re, signal, subprocess, sys, tempfile, time
from pathlib import Path

CLIENT = '''import sys
from gradio_client import Client, handle_file
client = Client(sys.argv[1], verbose=False)
print("ready", flush=True)
sys.stdin.readline()
for path in sys.argv[2:]: print(len(client.predict(handle_file(path), api_name="/read")), flush=True)'''
BROWSER = '''import sys
from playwright.sync_api import sync_playwright
with sync_playwright() as p:
    page = p.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]).new_page()
    page.goto(sys.argv[1])
    page.locator("input[type=file]").first.wait_for(state="attached")
    print("ready", flush=True)
    sys.stdin.readline()
    page.locator("input[type=file]").first.set_input_files(sys.argv[2:])
    page.locator(".sheet img").first.wait_for(timeout=600000)
    print(1, flush=True)
    page.get_by_text(f"all {len(sys.argv) - 2} pages").wait_for(timeout=600000)
    for _ in sys.argv[3:]: print(1, flush=True)'''

def children(pid): # all below a process
    out = subprocess.run(['ps', '-eo', 'pid=,ppid='], capture_output=True, text=True).stdout
    pairs, found = [tuple(map(int, line.split())) for line in out.splitlines()], [pid]
    for p in found: found += [c for c, above in pairs if above == p]
    return found[1:]

def held(pid): # MB that a process holds
    return int(re.search(r'VmRSS:\s+(\d+)', Path(f'/proc/{pid}/status').read_text())[1])//1024

def files(folder): return sorted(str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file() and p.name != 'lock')

def start(code, url, scans):
    c = subprocess.Popen([sys.executable, '-c', code, url, *map(str, scans)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert c.stdout.readline() == 'ready\n'
    return c

def one_round(url, scans):
    "(how many scans of those that live were answered, seconds)"
    clients = [start(code, url, [scans[(4*k + i) % len(scans)] for i in range(4)]) for k, code in enumerate((CLIENT, CLIENT, CLIENT, BROWSER, BROWSER))]
    begin = time.monotonic()
    for c in clients: print(file=c.stdin, flush=True)
    for c in (clients[0], clients[3]):
        c.stdout.readline() # one of its scans is read
        os.killpg(c.pid, signal.SIGKILL)
    answered = sum(len(c.stdout.read().split()) for c in clients if c not in (clients[0], clients[3]))
    return answered, time.monotonic() - begin

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('model'), p.add_argument('scans', nargs='+'), p.add_argument('--rounds', type=int, default=3)
    args = p.parse_args()
    found = [f for s in map(Path, args.scans) for f in (sorted(s.iterdir()) if s.is_dir() else [s])]
    tmp = Path(tempfile.mkdtemp())
    server = subprocess.Popen([sys.executable, '-m', 'welllog_ocr.app', '--model', args.model, '--port', '0'], stdout=subprocess.PIPE, text=True, env=os.environ | dict(TMPDIR=str(tmp)))
    url, pids = server.stdout.readline().split()[0], children(server.pid)
    rows = [dict(round=0, answered='', seconds='', server_mb=held(server.pid), reader_mb=sum(map(held, pids)), left=len(files(tmp)))]
    for n in range(args.rounds):
        answered, seconds = one_round(url, found)
        end = time.monotonic() + 120 # those that were killed are noticed, and what was in work is read
        while files(tmp) and time.monotonic() < end: time.sleep(.5)
        rows.append(dict(round=n + 1, answered=f'{answered} of 12', seconds=round(seconds), server_mb=held(server.pid), reader_mb=sum(map(held, children(server.pid))), left=len(files(tmp))))
        print(json.dumps(rows[-1]), flush=True)
    server.send_signal(signal.SIGINT)
    server.wait(30)
    print(json.dumps(dict(exit=server.returncode, left_at_the_end=[p.name for p in tmp.iterdir()])))

if __name__ == '__main__': main()
