"""A training that is none: it beats, makes empty checkpoints, and each life ends as it is told to: python tests/worker.py FD RUN LIFE..."""
import faulthandler, json, os, signal, sys, time
from pathlib import Path

fd, run, lives = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
turn = run/'turn'
k = int(turn.read_text()) if turn.exists() else 0
turn.write_text(str(k + 1))
what, _, at = lives[min(k, len(lives) - 1)].partition('@')
step = max((int(p.name[5:]) for p in (run/'checkpoints').glob('step-*')), default=0)
faulthandler.register(signal.SIGUSR1, open(run/'supervisor'/'stacks.txt', 'a'), all_threads=True)
(run/'run.json').write_text('{}')

def leave(number, frame):
    (run/'asked').write_text(signal.Signals(number).name)
    sys.exit(128 + number)

def end():
    if what == 'killed': os.kill(os.getpid(), signal.SIGKILL)
    if what == 'deaf': signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (run/'there').touch()
    if what == 'frozen': os.kill(os.getpid(), signal.SIGSTOP)
    if what == 'raised':
        with open(run/'events.jsonl', 'a') as f: f.write(json.dumps(dict(event='crashed', step=step, why='ValueError: always')) + '\n')
    if what in ('hung', 'deaf', 'frozen'): time.sleep(600)
    sys.exit(int(what) if what.isdigit() else 1)

for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, leave)
while step < 20:
    step += 1
    os.write(fd, b'%d\n' % step)
    time.sleep(.005)
    if at and step >= int(at): end()
    if step % 5 == 0: (run/'checkpoints'/f'step-{step:08}').mkdir(parents=True, exist_ok=True)
