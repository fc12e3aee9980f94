"""A run folder in the hands of chance: saves, evaluations without a number, kills, damage, resumes, forks, copies, strangers, in any order; and what always has to hold"""
import math, os, shutil, signal

import faults
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

import welllog_ocr.run.checkpoint as m

metric = st.sampled_from([None, math.nan, math.inf, .1, .2, .2, .3, .4, .5])
finite = lambda v: v is not None and math.isfinite(v)

class RunFolder(RuleBasedStateMachine):
    "The model: which steps were acknowledged, with which metric, and which of them were damaged since"
    steps_done = 0

    @initialize()
    def start(self):
        self.top = faults.temporary()
        self.root = self.top/'checkpoints'
        self.root.mkdir()
        self.step, self.values, self.flipped, self.cut, self.foreign, self.aside, self.pinned = 0, {}, set(), set(), set(), False, set()
        self.open()

    def teardown(self):
        if hasattr(self, 'top'): shutil.rmtree(self.top)

    def open(self):
        self.saver = m.Saver(self.root, 'run', recent=2)
        self.saver.pinned = self.pinned

    def counted(self): return {s: v for s, v in self.values.items() if s not in self.cut} # damage that the sizes do not show is found by the next resume
    def whole(self): return self.counted().keys() - self.flipped
    def best(self, values): return min((s for s in values if finite(values[s])), key=lambda s: (values[s], s), default=None)
    def there(self): return m.checkpoints(self.root).keys() - self.foreign

    def follow(self):
        "Those that were pruned are gone from the model too"
        gone = self.values.keys() - self.there()
        self.values = {s: v for s, v in self.values.items() if s not in gone}
        self.flipped, self.cut = self.flipped - gone, self.cut - gone

    @rule(by=st.integers(1, 5), cer=metric)
    def save(self, by, cer):
        type(self).steps_done += 1
        self.step += by
        old = self.counted()
        assert self.saver.save_now(faults.snapshot(m, self.step, cer))
        self.values[self.step] = cer
        must = {self.step, min(self.counted()), self.best(self.counted()), *(self.pinned & self.counted().keys()), *self.cut} - {None}
        assert must <= self.there(), f'{must - self.there()} should have stayed'
        assert len(self.there() - self.cut - self.pinned) <= 2 + 1 + 1
        assert old.keys() | {self.step} | self.cut >= self.there()
        self.follow()

    @rule(by=st.integers(1, 5), cer=metric, at=st.integers(1, 24), half=st.booleans())
    def save_and_die(self, by, cer, at, half):
        type(self).steps_done += 1
        step, old = self.step + by, self.counted()
        def work():
            with faults.on(m, faults.counting_disk(lambda k, name: os.kill(os.getpid(), signal.SIGKILL) if k == at else None, half)):
                self.saver.save_now(faults.snapshot(m, step, cer))
        faults.silent_exit(work)
        if step in self.there(): self.values[step], self.step = cer, step
        new = {s: v for s, v in self.counted().items() if s in self.there()}
        if old:
            assert max(new) >= max(old) and min(old) in new and self.cut <= self.there()
            if self.best(old) is not None: assert new[self.best(new)] <= old[self.best(old)]
        self.follow()
        self.open()

    @precondition(lambda self: self.values)
    @rule(data=st.data(), cut=st.booleans())
    def damage(self, data, cut):
        step = data.draw(st.sampled_from(sorted(self.values)))
        path = m.step_folder(self.root, step)/data.draw(st.sampled_from(['model.safetensors', 'optimizer.safetensors', 'state.json']))
        content = bytearray(path.read_bytes())
        if cut: content = content[:data.draw(st.integers(0, max(0, len(content) - 1)))]
        elif content: content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        if bytes(content) == path.read_bytes(): return
        path.write_bytes(content)
        if step in self.flipped and not cut: self.flipped.discard(step) if self.is_whole(step) else None # the same bit twice
        else: (self.cut if cut else self.flipped).add(step)

    def is_whole(self, step):
        try: return bool(m.verify(m.step_folder(self.root, step), 'run'))
        except m.CheckpointError: return False

    @rule()
    def resume(self):
        type(self).steps_done += 1
        m.sweep(self.root)
        whole = self.whole()
        try: found, bad = m.latest_valid(self.root, 'run')
        except m.CheckpointError:
            assert not whole, f'{max(whole)} is whole, and was not found'
            self.aside, self.values, self.flipped, self.cut = True, {}, set(), set()
            return
        assert not list(self.root.glob('.t*'))
        if found is None: assert not self.values and not self.aside and not self.foreign, 'a silent start from zero'
        else:
            assert found.step == max(whole) and faults.is_step(m, found, found.step)
            assert not [s for s in self.there() if s > found.step], 'bad ones are set aside'
            self.step = found.step
        self.aside |= any(s > self.step for s in self.values)
        self.follow()
        self.open()

    @rule(recent=st.integers(2, 4))
    def prune(self, recent):
        old = self.counted()
        m.prune(self.root, 'run', recent=recent, pinned=self.pinned)
        if old: assert {max(old), min(old), self.best(old)} - {None} <= self.there() and self.cut <= self.there()
        self.follow()

    @precondition(lambda self: self.values)
    @rule(data=st.data())
    def pin(self, data): self.pinned.add(data.draw(st.sampled_from(sorted(self.values))))

    @precondition(lambda self: self.whole())
    @rule(at=st.integers(9000, 9009))
    def fork_and_stranger(self, at):
        "The newest goes into a run of its own; a checkpoint of that run, put in here, is left alone"
        fork = faults.temporary()
        s = m.load(m.step_folder(self.root, max(self.whole())))
        m.save(fork, s, 'fork')
        assert m.state_digest(m.latest_valid(fork, 'fork')[0]) == m.state_digest(s)
        if at not in self.foreign:
            m.save(self.root, faults.snapshot(m, at), 'fork')
            self.foreign.add(at)
        shutil.rmtree(fork)

    @precondition(lambda self: self.whole())
    @rule()
    def copy(self):
        shutil.copytree(self.root, self.top/'copy')
        assert m.latest_valid(self.top/'copy', 'run')[0].step == max(self.whole())
        shutil.rmtree(self.top/'copy')

    @invariant()
    def strangers_stay(self):
        for s in getattr(self, 'foreign', ()): m.verify(m.step_folder(self.root, s), 'fork')

def machine(examples, steps):
    RunFolder.steps_done = 0
    run_state_machine_as_test(RunFolder, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)))
    return RunFolder.steps_done

def test_a_few_lives(): assert machine(15, 20) > 50

@pytest.mark.soak
def test_many_lives(reliability):
    n = machine(60, 40)
    reliability('saves, kills, damage, resumes, forks, copies in any order, against a model', n, n, 'no rule broken')
