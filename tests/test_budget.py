"""The budget: a run stops before its cap, wherever the cap falls, and goes on with a higher one"""
import random, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from runs import tiny
import welllog_ocr.run.checkpoint as checkpoint
import welllog_ocr.train as training
from welllog_ocr.run.checkpoint import checkpoints, latest_valid, load, state_digest
from welllog_ocr.core import ConfigError
from welllog_ocr.files import read_json, read_jsonl, write_jsonl
from welllog_ocr.run.cost import Budget, BudgetReached, Ledger, Price, sessions, pod_price, refuse_spent
from welllog_ocr.run.callbacks import Callback
from welllog_ocr.train import train

class Clock:
    "A clock that goes when the run does something: a step, a part of an evaluation, a save"
    def __init__(self, step, reading, saving): self.now, self.step, self.reading, self.saving = 0., step, reading, saving
    def __call__(self): return self.now

class Ticks(Callback):
    def __init__(self, clock): self.clock = clock
    def after_step(self, run): self.clock.now += self.clock.step

def fake_time(monkeypatch, clock):
    insist, save_now = Budget.insist, checkpoint.Saver.save_now
    def reading(self):
        clock.now += clock.reading
        return insist(self)
    def saving(self, s):
        if self.saved != s.step: clock.now += clock.saving
        path = save_now(self, s)
        self.seconds = clock.saving
        return path
    monkeypatch.setattr(Budget, 'insist', reading)
    monkeypatch.setattr(checkpoint.Saver, 'save_now', saving)
    monkeypatch.setattr(training, 'Budget', lambda *args, **more: Budget(*args, save_s=clock.saving, **more)) # as rehearsed
    monkeypatch.setattr(training, 'open_ledger', lambda folder, rate, cap: (refuse_spent(folder, cap), Ledger(folder, Price(rate), clock=clock))[1])

def hit(home, monkeypatch, name, rng):
    "One run with a cap that falls anywhere: what it cost beyond the cap, in steps; where it stopped; then it goes on to the end"
    step = rng.uniform(.5, 2)
    clock = Clock(step, rng.choice([0, .1, .5, 1])*step, rng.choice([0, .1, 2, 8]))
    cfg = tiny(home, experiment_name=name, gpu_hourly_rate=3600., budget_cap=round(rng.uniform(10, 60), 2), save_steps=rng.choice([2, 3, 5]), eval_steps=rng.choice([3, 4, 8]))
    with monkeypatch.context() as m:
        fake_time(m, clock)
        try: train(cfg, [Ticks(clock)])
        except BudgetReached as e: said = str(e)
        else: return None, cfg, clock, ''
    over = (sessions(cfg.run_dir)[-1]['total_usd'] - cfg.budget_cap)/clock.step
    return over, cfg, clock, said

def check_hits(home, monkeypatch, n, seed):
    rng, stopped, worst, k = random.Random(seed), 0, -1e9, 0
    while stopped < n:
        k += 1
        over, cfg, clock, said = hit(home, monkeypatch, f'b{k}', rng)
        if over is None: continue # the cap was high enough
        stopped, worst = stopped + 1, max(worst, over)
        assert over <= 1, (over, vars(clock), cfg.budget_cap)
        if 'no step is saved' in said: assert not checkpoints(cfg.run_dir/'checkpoints'); continue
        found, bad = latest_valid(cfg.run_dir/'checkpoints', read_json(cfg.run_dir/'run.json')['run_id'])
        assert found and not bad and f'step {found.step} is saved' in said, said
        assert found.state['stop'] == ''
        with pytest.raises(BudgetReached, match='no money for another step'): train(cfg)
    return stopped, worst

def test_a_cap_anywhere(home, monkeypatch): check_hits(home, monkeypatch, 4, 0)

@pytest.mark.soak
def test_a_cap_anywhere_often(home, monkeypatch, reliability):
    stopped, worst = check_hits(home, monkeypatch, 50, 1)
    reliability('budget cap hit between steps, in an evaluation, in a save', stopped, f'{stopped} stopped, at most {worst:.2f} steps above the cap', 'the last step is saved')

def outcome(cfg):
    clocks = ('elapsed_s', 'samples_per_s', 'cost_usd')
    return [{k: v for k, v in r.items() if k not in clocks} for r in read_jsonl(cfg.run_dir/'metrics.jsonl')], state_digest(load(cfg.run_dir/'checkpoints'/f'step-{16:08}'))

def test_more_money_goes_on_exactly(home, monkeypatch):
    whole = tiny(home, experiment_name='whole', gpu_hourly_rate=3600.)
    train(whole)
    clock = Clock(1., .02, .05)
    poor = tiny(home, experiment_name='poor', gpu_hourly_rate=3600., budget_cap=11.)
    with monkeypatch.context() as m:
        fake_time(m, clock)
        with pytest.raises(BudgetReached) as e: train(poor, [Ticks(clock)])
    assert e.value.exit_code == 4
    train(poor.replace(budget_cap=1e6))
    assert outcome(poor) == outcome(whole)
    costs = [r['cost_usd'] for r in read_jsonl(poor.run_dir/'metrics.jsonl')]
    assert costs == sorted(costs) and costs[-1] >= 9
    assert [r['leg'] for r in sessions(poor.run_dir)] == [1, 2]
    events = [e['event'] for e in read_jsonl(poor.run_dir/'events.jsonl')]
    assert 'budget_reached' in events and 'budget_warning' in events and 'crashed' not in events

def test_spent_already(tmp_path):
    write_jsonl(tmp_path/'cost.jsonl', [dict(leg=1, seconds=10, usd=3., source='config', rate=1.), dict(leg=2, seconds=5, usd=2., source='config', rate=1.)])
    with pytest.raises(BudgetReached, match=r'has cost \$5.00 in 2 sessions, and budget_cap=4'): refuse_spent(tmp_path, 4.)
    refuse_spent(tmp_path, 6.)

@pytest.mark.parametrize('changes', [dict(gpu_hourly_rate=-1.), dict(budget_cap=-1., gpu_hourly_rate=1.), dict(budget_cap=5.), dict(gpu_hourly_rate=float('nan')), dict(gpu_hourly_rate='cheap')])
def test_prices_that_cannot_be(home, changes):
    with pytest.raises(ConfigError, match='gpu_hourly_rate|budget_cap'): tiny(home, **changes)

def test_clocks_that_jump(tmp_path, monkeypatch):
    "The wall clock jumps by ten years, and the ledger's own is read backwards: no second is lost, none is given back"
    now = [100.]
    ledger = Ledger(tmp_path, Price(3600.), clock=lambda: now[0])
    for jump in (3e8, -3e8, 0.):
        monkeypatch.setattr(time, 'time', lambda: jump)
        now[0] += 1
        ledger.write()
    now[0] -= 50
    before = ledger.total
    now[0] += 1
    assert before == pytest.approx(3) and ledger.total == pytest.approx(4)
    assert [r['usd'] for r in read_jsonl(tmp_path/'cost.jsonl')] == pytest.approx([1, 2, 3])

def test_half_a_row(tmp_path):
    ledger = Ledger(tmp_path, Price(3600.))
    ledger.write()
    with open(tmp_path/'cost.jsonl', 'a') as f: f.write('{"leg": 1, "usd": 9')
    assert Ledger(tmp_path, Price(1.)).session == 2
    Ledger(tmp_path, Price(1.)).write()
    assert [r['leg'] for r in sessions(tmp_path)] == [1, 2]

class Provider(BaseHTTPRequestHandler):
    replies = []
    def do_GET(self):
        code, data, delay = self.replies.pop(0)
        time.sleep(delay)
        self.send_response(code)
        self.end_headers()
        try: self.wfile.write(data)
        except BrokenPipeError: pass
    def log_message(self, *args): pass

FAULTS = [(500, b'', 0), (401, b'', 0), (200, b'{}', 0), (200, b'nonsense', 0), (200, b'{"costPerHr": -3}', 0), (200, b'{"costPerHr": 0}', 0), (200, b'{"costPerHr": null}', 0), (200, b'{"costPerHr": 1e999}', 0),
          (200, b'{"costPerHr": true}', 0), (200, b'{"costPerHr": 0.5}', .6)]

def test_a_provider_with_troubles():
    "Twenty answers that are none: the last price that was told stays, and it is never negative"
    server = HTTPServer(('127.0.0.1', 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url, env, told = f'http://127.0.0.1:{server.server_address[1]}', dict(RUNPOD_POD_ID='p', RUNPOD_API_KEY='rpa_secret'), []
    try:
        for known in (None, .8):
            for fault in FAULTS:
                Provider.replies[:] = [fault]
                price = Price(.5, known, ask=lambda: pod_price(env, url, timeout=.3), log=lambda what, **facts: told.append(what))
                assert price.refresh() and price.now == (known or .5)
        Provider.replies[:] = [(200, b'{"costPerHr": 0.9}', 0)]
        price.ask = lambda: pod_price(env, url, timeout=30) # the server may still be at the slow answer before
        assert price.refresh() and price.now == .9 and price.source == 'provider'
    finally:
        server.shutdown()
        server.server_close()
    assert told.count('price_unknown') == 20
