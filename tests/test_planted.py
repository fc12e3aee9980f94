"""Does the suite notice when a protection is gone? Each planted bug takes a line out of a module; an injection, or the page of the module, has to fail for it."""
import json, random, sys, tempfile, types
from types import SimpleNamespace
from unittest.mock import patch as mocked

import faults
import pytest
import torch
from conftest import ROOT
from runs import ALL, make_model, tiny

from welllog_ocr.run.checkpoint import CheckpointError, state_digest
from welllog_ocr.run.samples import run_data
from welllog_ocr.run.callbacks import Callback, Log, StopEarly, StopOnLoss
from welllog_ocr.models.ctc import tiny_ctc
from welllog_ocr.run.state import capture
from welllog_ocr.run.step import Run
from welllog_ocr.train import fit

BUGS = [ # what is gone, (the code, what stands there instead), the injection that has to notice
    ('fsync of the files',          ('            fsync(tmp/name)\n', ''), faults.power_loss),
    ('fsync of the new folder',     ('        fsync(tmp)\n', ''), faults.power_loss),
    ('fsync of the parent',         ('        os.rename(tmp, target)\n        fsync(root)\n', '        os.rename(tmp, target)\n'), faults.power_loss),
    ('rename into place',           ("        os.rename(tmp, target)\n        fsync(root)\n        verify(target, run_id)\n", '        os.mkdir(target)\n        for p in tmp.iterdir(): _write(target/p.name, p.read_bytes())\n        for p in list(tmp.iterdir()): os.unlink(p)\n        os.rmdir(tmp)\n        fsync(root)\n'), faults.power_loss),
    ('manifest last',               ('[*files.items(), (MANIFEST, _manifest(run_id, s, files))]', '[(MANIFEST, _manifest(run_id, s, files)), *files.items()][:2]'), faults.kill_at_every_operation),
    ('hash of the files',           ("        if whole and sha256_file(path)", "        if False and sha256_file(path)"), faults.bit_flips),
    ('hash of the manifest',        ("found.get('digest') == stable_hash(body) and ", ''), faults.bad_manifests),
    ('one way to write a manifest', (" and data == _canonical(found)", ''), faults.bad_manifests),
    ('fallback to an older one',    ("            bad.append(str(e))\n            if not _foreign", "            raise\n            if not _foreign"), faults.truncations),
    ('quarantine',                  ('            if not _foreign(folder, run_id): bad[-1] += _quarantined(root, folder, str(e))\n', ''), faults.swaps),
    ('removal of a failed save',    ('        _remove(tmp)\n        raise\n', '        raise\n'), faults.disk_trouble),
    ('everything anew after a failed fsync', ("            fsync(tmp/name)\n", "            try: fsync(tmp/name)\n            except OSError: fsync(tmp/name)\n"), faults.disk_trouble),
    ('second try of a save',        ('            except (OSError, WelllogError) as e: self._trouble(s, e, last_try)\n', '            except WelllogError as e: self._trouble(s, e, last_try)\n'), faults.disk_trouble),
    ('trash before deletion',       ("    os.rename(folder, trash)\n    fsync(root)\n    _remove(trash)\n", "    for p in sorted(folder.iterdir(), reverse=True): os.unlink(p)\n    os.rmdir(folder)\n"), faults.kill_at_every_operation),
    ('the newest two stay',         ('steps[-max(2, recent):]', 'steps[-1:]'), faults.retention),
    ('the first stays',             (', *steps[:1], ', ', '), faults.retention),
    ('no number is not the best',   (' and values[s] == values[s]]', ']'), faults.retention),
    ('the pinned stay',             ('*(set(pinned) & set(steps))', ''), faults.retention),
    ('the lock',                    ("    with locked(path, ", "    with locked(path.with_name(f'lock{os.getpid()}'), "), faults.races),
    ('no link for a folder',        ("    if folder.is_symlink():\n        raise SetupError(f'{folder} is a link, so checkpoints", "    if False:\n        raise SetupError(f'{folder} is a link, so checkpoints"), faults.links),
    ('links are no checkpoints',    (' and p.is_dir() and not p.is_symlink()}', '}'), faults.strangers),
    ('links are not swept',         ('    if folder.is_symlink() or not folder.is_dir(): return\n', '    if not folder.is_dir(): return\n'), faults.links),
    ('one save at a time',          ('        if not wait and self.thread', '        if False and self.thread'), faults.slow_disk),
    ('a living owner elsewhere',    ("    if -stale < age < stale: raise SetupError(_taken(folder, owner))\n", ''), faults.stale_locks),
    ('the best stays',              ('*(s for _, s in scored[:max(1, best)]), ', ''), faults.lost_best),
    ('sweep at the start',          ("if p.name.startswith(('.tmp-', '.trash-'))]", "if p.name.startswith('.nothing')]"), faults.kill_at_every_operation)]

def new_module(room=''):
    module = sys.modules['planted'] = types.ModuleType('planted')
    module.__package__ = room
    return module

def planted(name, old, new):
    source = (ROOT/'welllog_ocr'/f'{name}.py').read_text(encoding='utf-8')
    assert source.count(old) == 1, f'{source.count(old)} places hold {old!r}'
    module = new_module(f'welllog_ocr.{name.partition("/")[0]}')
    exec(compile(source.replace(old, new), 'planted', 'exec'), module.__dict__)
    return module

@pytest.mark.parametrize('what, change, inject', BUGS, ids=[b[0].replace(' ', '-') for b in BUGS])
def test_is_noticed(what, change, inject):
    name = 'run/lock' if inject in (faults.races, faults.stale_locks) else 'run/checkpoint'
    module, every = planted(name, *change), inject in (faults.kill_at_every_operation, faults.disk_trouble, faults.links, faults.slow_disk, faults.stale_locks, faults.strangers, faults.lost_best)
    with pytest.raises((AssertionError, OSError, CheckpointError, getattr(module, 'CheckpointError', OSError))): inject(module) if every else inject(module, 400)

# --- what a resume brings back

FORGOTTEN = [
    ('random generators',   ("    set_rng_state(s.state['rng'], s.optimizer)\n", '')),
    ('moments',             ('run.optimizer.state[p] = moments[name]\n', '_ = moments[name]\n')),
    ('schedule',            ("    _restore_schedule(run, state['schedule'])\n", '')),
    ('EMA',                 ("        for name, m in zip(params, run.ema.mean): m.copy_(shard_like(s.optimizer[f'average|{name}'], m))\n", '')),
    ('place in the data',   ("for name in COUNTS: setattr(", "for name in COUNTS[:2] + COUNTS[3:]: setattr(")),
    ('counts of callbacks',  ("    for c in run.callbacks: c.load_state_dict(state['guests'].get(type(c).__name__, {}) or c.state_dict())\n", ''))]

def resumed_equal(m, folder, threads=1):
    "A run resumed at step 5, on so many threads, against one that was not; with the callbacks that remember something"
    make_model(folder)
    cfg = tiny(folder, max_steps=12, train_loss_threshold=1e-9, l2_sp=50.)
    cfg.run_dir.mkdir(parents=True)
    class Keep(Callback):
        def after_step(self, run):
            if run.step == 5: self.found = capture(run)
    def start():
        rec = tiny_ctc(ALL)
        return Run(cfg, rec, run_data(cfg, rec), [Log(), StopOnLoss(cfg), StopEarly(cfg), Keep()])
    torch.manual_seed(0), random.seed(0)
    whole = start()
    fit(whole)
    want = state_digest(capture(whole)) # the generators as they are now
    torch.manual_seed(1), random.seed(1)
    rest = start()
    m.restore(rest, whole.callbacks[-1].found)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try: fit(rest)
    finally: torch.set_num_threads(before)
    assert state_digest(capture(rest)) == want

@pytest.mark.parametrize('threads', [1, 2])
def test_a_whole_resume_is_equal(threads, tmp_path):
    import welllog_ocr.run.state
    resumed_equal(welllog_ocr.run.state, tmp_path, threads)

@pytest.mark.parametrize('what, change', FORGOTTEN, ids=[b[0].replace(' ', '-') for b in FORGOTTEN])
def test_what_is_forgotten_is_noticed(what, change, tmp_path):
    module = planted('run/state', *change)
    with pytest.raises(AssertionError): resumed_equal(module, tmp_path)

# --- the page of a module: a bug in its code, for which one of its later cells has to fail

IN_PAGES = [ # what is gone, the page, (the code, what stands there instead)
    ('the first writer of a part wins',  'archive/00_store', ('        except FileExistsError: return False\n', '        except FileExistsError: os.replace(tmp, path)\n')),
    ('a split part keeps the rest',      'archive/01_plan',  ('return [*([p] for p in alone), rest]', 'return [[p] for p in alone]')),
    ('a part counts in one place',       'archive/01_plan',  ('[(plans[best], l) for l in leaves[best] if l.name in done[best]]', '[(p, l) for p, found, d in zip(plans, leaves, done) for l in found if l.name in d]')),
    ('a scan read again counts once',    'archive/01_plan',  ('if newest.get(hash(place), n) == n: yield place, row', 'yield place, row')),
    ('an upload is deleted once read',   'archive/06_reception', ('job.answer.cancel(); job.path.unlink(missing_ok=True)', 'job.answer.cancel()')),
    ('only a whole key opens a visit',   'archive/06_reception', ('if v.key == key)', 'if v.key.startswith(key))')),
    ('two wells that are as likely',     'read/19_wells', ('    if any(not same(i) and score - s < AHEAD for s, i in found[1:]): return None\n', '')),
    ('another number is another well',   'read/19_wells', ("map(found.get, ('number', 'county', 'state'))", "map(found.get, ('county', 'state'))")),
    ('an error replaces no page',        'read/18_index', ("    if old and 'error' in row and old[1] is None: return False\n", '')),
    ('feet become metres',               'read/24_exchange', ('round(above*_METRES.get(unit, 1.), 3)', 'round(above, 3)')),
    ('texts in a table are escaped',     'read/12_export', ('{esc(v["text"], 300)}</mark>', '{v["text"]}</mark>')),
    ('a text in a sheet is no formula',  'read/12_export', ("        made.data_type = 's' # text, also when it begins like a formula\n", '')),
    ('what XML cannot hold',             'read/23_markup', ("return _FORBIDDEN.sub('\\N{REPLACEMENT CHARACTER}', str(text))", 'return str(text)')),
    ('a judgement is of one page',       'review/03_values', (", row['page']])[:8]", '])[:8]')),
    ('a page confirmed keeps the fixes', 'review/03_values', ("[v for v in self.page(n) if self.mark_of(v).state == 'todo']", 'self.page(n)')),
    ('an undo brings back the mark before', 'review/00_log', ('    if left: self.marks[key] = left[-1]\n', '    if len(left) == len(self._of[key]): self.marks[key] = left[-1]\n')),
    ('a box is cut from its own page',   'data/05_other_tools', ('more = dict(page=n) if len(pages) > 1 else {}', 'more = {}')),
    ('each task has its own picture',    'data/06_label_studio', ('rows += _rows_of(task, regions, path, root)', 'rows += _rows_of(_tasks(path)[0], regions, path, root)'))]

def play(page, old='', new=''):
    "Run the cells of a page, with a bug in one: what a later one raises"
    cells = [''.join(c['source']) for c in json.loads((ROOT/'nbs'/f'{page}.ipynb').read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
    assert not old or sum(c.count(old) for c in cells) == 1, f'not one cell of {page} holds {old!r}'
    at, module = next((n for n, c in enumerate(cells) if old and old in c), len(cells)), new_module()
    for n, cell in enumerate(cells):
        try: exec(compile(cell.replace(old, new) if n == at else cell, f'{page}, cell {n}', 'exec'), module.__dict__)
        except Exception as e:
            if n > at: return e
            raise

@pytest.fixture
def scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path), monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))

@pytest.mark.parametrize('page', dict.fromkeys(page for _, page, _ in IN_PAGES))
def test_a_page_without_a_bug_runs_here(page, scratch): play(page)

@pytest.mark.parametrize('what, page, change', IN_PAGES, ids=[b[0].replace(' ', '-') for b in IN_PAGES])
def test_a_page_notices(what, page, change, scratch): assert play(page, *change)

# --- what a page cannot show: processes, other packages, whole sheets

def an_archive_reads_what_a_dead_reader_left(m, folder):
    from test_archive import beside_a_hanging_file
    beside_a_hanging_file(m, folder)

def a_part_has_its_name_last(m, folder):
    from test_archive import killed_while_a_part_is_written
    killed_while_a_part_is_written(m, folder)

def runs_stay_apart(m, folder):
    from test_forms import drawn, read_truly
    page, img, lines = drawn(2)
    found = read_truly(img, lines, m)['runs']
    assert len(found) == len(page.runs) == 2
    for got, want in zip(found, map(dict, page.runs)): assert sum(v['text'] == want.get(n) for n, v in got.items()) > .8*len(got)

def rows_at_tensorboard(m, folder):
    "Two sessions of a run: the second has nothing to send"
    pytest.importorskip('tensorboard')
    from test_trackers import folder_of, follow, grow, job, seen, wanted
    run = folder_of(folder)
    grow(run, 6, 0), (run/'tensorboard').mkdir()
    for _ in range(2): follow(run, m.TensorBoard(run, job(run, 'tensorboard'), 'local'))
    assert seen('tensorboard', run, None) == wanted(run) and len([*(run/'tensorboard').iterdir()]) == 1

def rows_at_wandb(m, folder):
    "The same with W&B, which says how far it is"
    from test_trackers import folder_of, follow, grow, job
    run, sent = folder_of(folder), []
    grow(run, 6, 0)
    there = SimpleNamespace(url='', starting_step=0, define_metric=lambda *_, **__: None, finish=lambda **_: None, log=lambda row, step, commit: sent.append(step))
    fake = types.ModuleType('wandb')
    fake.init, fake.Settings = lambda **_: there, dict
    with mocked.dict(sys.modules, wandb=fake):
        for _ in range(2): follow(run, m.WandB(run, job(run, 'wandb'), 'online')); there.starting_step = sent[-1] + 1
    assert sent == sorted({*sent})

ELSEWHERE = [ # what is gone, the module, (the code, what stands there instead), what has to notice
    ('a part is on the disk before it has its name', 'archive/store', ("            f.write(data), f.flush(), os.fsync(f.fileno())\n        try: os.link(tmp, path)\n        except FileExistsError: return False\n",
      "            try: os.link(tmp, path)\n            except FileExistsError: return False\n            f.write(data), f.flush(), os.fsync(f.fileno())\n        try: pass\n"), a_part_has_its_name_last),
    ('a part whose reader died is read again', 'archive/work', ('            schedule.died(part, readers.look().begun.get(reader.number, []), why, before.pages)\n', '            pass\n'), an_archive_reads_what_a_dead_reader_left),
    ('a value stands in the column of its run', 'read/record', ("else record['runs'][c.run]\n", "else record['runs'][max(0, c.run - 1)]\n"), runs_stay_apart),
    ('a row is sent once to TensorBoard', 'run/trackers', (' and (k, step) not in self.has}', '}'), rows_at_tensorboard),
    ('a row is sent once to W&B', 'run/wandb', ('        if row_number(row) < self.next: return\n', ''), rows_at_wandb)]

@pytest.mark.parametrize('what, name, change, inject', ELSEWHERE, ids=[b[0].replace(' ', '-') for b in ELSEWHERE])
def test_a_test_notices(what, name, change, inject, tmp_path):
    for folder in ('whole', 'wrong'): (tmp_path/folder).mkdir()
    inject(planted(name, change[0], change[0]), tmp_path/'whole')
    with pytest.raises(AssertionError): inject(planted(name, *change), tmp_path/'wrong')
