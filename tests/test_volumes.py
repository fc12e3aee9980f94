"""Volumes, homes and terminals that cannot do what others can, and paths that are something else than was asked for."""
import errno, io, os, shutil, subprocess, sys, time
from dataclasses import fields
from types import SimpleNamespace

import pytest
import forked
from conftest import ROOT
from PIL import Image

from welllog_ocr import core, files
from welllog_ocr.config import TrainingConfig, config_from_args
from welllog_ocr.core import ConfigError, SetupError, at_home, disk_errors, is_command, run_command
from welllog_ocr.files import append_jsonl, fsync, read_jsonl, write_atomic
from welllog_ocr.models.core import model_type
from welllog_ocr.run.checkpoint import named_checkpoint
from welllog_ocr.run.checks import OK, WARNING, check_output
from welllog_ocr.run.wandb import wandb_mode

def refuse(number):
    def act(*args, **more): raise OSError(number, os.strerror(number))
    return act

# ---- what a volume cannot do

@pytest.mark.parametrize('number', [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF])
def test_a_volume_that_cannot_sync(tmp_path, monkeypatch, number):
    "Nothing can be forced to disk: what is written stands all the same"
    monkeypatch.setattr(os, 'fsync', refuse(number))
    write_atomic(tmp_path/'a', 'x'), append_jsonl(tmp_path/'b', dict(a=1), sync=True), fsync(tmp_path)
    assert (tmp_path/'a').read_text() == 'x' and read_jsonl(tmp_path/'b') == [dict(a=1)]

@pytest.mark.parametrize('number', [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_sync_that_fails_is_an_error(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, 'fsync', refuse(number))
    with pytest.raises(OSError, match=str(tmp_path/'a')): write_atomic(tmp_path/'a', 'x')
    assert not list(tmp_path.iterdir())

def test_a_volume_without_rights_of_files(tmp_path, monkeypatch):
    for name in ('chmod', 'fchmod'): monkeypatch.setattr(os, name, refuse(errno.EPERM))
    old = os.umask(0o027)
    try: write_atomic(tmp_path/'a', 'x')
    finally: os.umask(old)
    assert (tmp_path/'a').stat().st_mode & 0o777 == 0o640 # as others write their files

def test_a_full_disk_is_no_mistake_of_ours(capsys):
    def full(e):
        with disk_errors('found.csv', 'nothing is kept', 'go on'): raise e
    for e in (OSError(errno.ENOSPC, 'full'), PermissionError(errno.EPERM, 'no'), RuntimeError('I/O error: (os error 28)'), ValueError('database or disk is full')):
        with pytest.raises(SetupError, match='found.csv: the disk did not take'): full(e)
        def main(): raise e
        with pytest.raises(SystemExit) as status: run_command(main)
        said = capsys.readouterr().err
        assert status.value.code == 3 and said.startswith('SetupError: ') and 'mistake' not in said
    for e in (KeyError('x'), FileNotFoundError(2, 'x'), DataProblem('(os error 28)')):
        with pytest.raises(type(e)): full(e)

class DataProblem(core.DataError): "An error of ours stays what it is"

# ---- homes and terminals

@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path/'home')), monkeypatch.setenv('USERPROFILE', str(tmp_path/'home'))
    return tmp_path/'home'

@pytest.fixture
def no_home(monkeypatch):
    "A container with a user that it does not know"
    import pwd
    for name in ('HOME', 'USERPROFILE', 'NETRC', 'WANDB_API_KEY', 'WANDB_MODE'): monkeypatch.delenv(name, raising=False)
    def unknown(*_): raise KeyError
    monkeypatch.setattr(pwd, 'getpwuid', unknown), monkeypatch.setattr(pwd, 'getpwnam', unknown)

PATHS = ['model_name', 'data_path', 'extra_data', 'review', 'output_dir', 'resume_from_checkpoint', 'volume']

def test_the_home_of_a_setting(home):
    cfgs = TrainingConfig(**{name: '~/x' for name in PATHS}), config_from_args([f'--{name}=~/x' for name in PATHS])[0]
    for cfg in cfgs: assert {name: getattr(cfg, name) for name in PATHS} == {name: (str(home/'x'),) if name == 'extra_data' else str(home/'x') for name in PATHS}
    assert TrainingConfig(data_path='/a/~/x').data_path == '/a/~/x'

def test_a_setting_is_a_path_or_has_no_tilde():
    assert {f.name for f in fields(TrainingConfig) if f.name.endswith(('_dir', '_path', '_name')) and f.name not in ('checkpoint_dir', 'experiment_name')} <= set(PATHS)

def test_the_home_of_a_command(home, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['predict', '~/a b.tif', '--output=~/x.csv', '--kind', 'line', 'a~/b', '~'])
    assert is_command(dict(__name__='__main__', __spec__='x'))
    assert sys.argv[1:] == [str(home/'a b.tif'), f'--output={home/"x.csv"}', '--kind', 'line', 'a~/b', str(home)]

def test_no_home(no_home, monkeypatch, capsys):
    with pytest.raises(ConfigError, match='whole path'): TrainingConfig(output_dir='~/runs')
    monkeypatch.setattr(sys, 'argv', ['synth', '~/lines'])
    with pytest.raises(SystemExit, match='2'): is_command(dict(__name__='__main__', __spec__='x'))
    assert 'HOME is not set' in capsys.readouterr().err
    assert wandb_mode()[0] == 'offline' and at_home('lines') == 'lines'

def test_a_terminal_without_degrees(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
    monkeypatch.setattr(sys, 'stdout', out), monkeypatch.setattr(sys, 'argv', ['x'])
    assert is_command(dict(__name__='__main__', __spec__='x'))
    print('72 °F', '\udcfc', flush=True)
    assert out.buffer.getvalue() == b'72 ?F ?\n'

def test_an_error_in_a_notebook_is_one_line():
    code = 'from welllog_ocr.read.page import scan_files; list(scan_files(["none.tif"]))'
    got = subprocess.run([sys.executable, '-m', 'IPython', '--no-banner', '--colors=NoColor', '--quick', '-c', code], capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert got.stdout.strip() == 'DataError: none.tif: no such file or folder; name the scans to read'

# ---- what was named, and what can be

@pytest.fixture
def run(tmp_path):
    "The folders of a run, without content"
    for path in ('run.json', 'config.json', 'best/config.json', 'final/adapter_config.json', 'checkpoints/step-00000004/manifest.json', 'checkpoints/step-00000008/state.json'):
        (tmp_path/'x'/path).parent.mkdir(parents=True, exist_ok=True), (tmp_path/'x'/path).write_text('{}')
    (tmp_path/'empty').mkdir()
    return tmp_path/'x'

@pytest.mark.parametrize('name, says', [('nothing', 'no such folder'), ('.', 'a run folder'), ('best', 'a saved model'), ('final', 'a saved model'), ('checkpoints', 'holds checkpoints'),
                                        ('checkpoints/step-00000004/manifest.json', 'a file'), ('../empty', 'no checkpoint'), ('checkpoints/step-7', 'no such folder')])
def test_resume_from_what_is_no_checkpoint(run, name, says):
    with pytest.raises(ConfigError, match=says) as e: named_checkpoint(str(run/name))
    other = 'step-00000004' if 'manifest' in name else 'step-00000008'
    assert name == '../empty' or f'such as {(run/name).parent if "manifest" in name else ""}' in str(e.value) and other in str(e.value)

def test_resume_from_a_checkpoint(run):
    for name in ('step-00000004', 'step-00000008'): # the second is damaged, which reading it says
        assert named_checkpoint(str(run/'checkpoints'/name)) == run/'checkpoints'/name

@pytest.mark.parametrize('name, says', [('', 'is a run folder'), ('checkpoints', 'holds no config.json'), ('checkpoints/step-00000004', 'is a checkpoint'), ('best/config.json', 'is a file'),
                                        ('bset', 'no such folder'), ('..', 'holds no config.json')])
def test_a_model_that_is_something_else(run, name, says):
    with pytest.raises(SetupError, match=says) as e: model_type(str(run/name))
    assert str(run/'best') in str(e.value).replace('x/../x', 'x') or name == '..' and 'best' in str(e.value)

# ---- locks on a volume that has none, and on a system without `fcntl`

TAKE = '''
import errno, sys, time
import welllog_ocr.files as files
class none: # a volume whose locks fail
    LOCK_SH = LOCK_EX = LOCK_NB = 0
    def flock(*_): raise OSError(int(sys.argv[2]), 'no locks')
files.fcntl = none if int(sys.argv[2]) else None
try:
    with files.locked(sys.argv[1], lambda who: ValueError(f'taken by {who.get("name")}'), remove=True) as lock:
        lock.note(name='a')
        print('in', flush=True)
        sys.stdin.read()
except ValueError as e: print(e, flush=True)
'''

@pytest.mark.parametrize('number', [0, errno.ENOLCK, errno.EAGAIN])
def test_a_lock_without_locks(tmp_path, monkeypatch, number):
    "One holder at a time; it ends with its process, also when that is killed, and for the one who waits"
    start = lambda: subprocess.Popen([sys.executable, '-W', 'ignore', '-c', TAKE, str(tmp_path/'lock'), str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    monkeypatch.setattr(files, 'fcntl', SimpleNamespace(flock=refuse(number), LOCK_SH=0, LOCK_EX=0, LOCK_NB=0) if number else None)
    first = start()
    assert first.stdout.readline() == 'in\n' and files.is_locked(tmp_path/'lock')
    with pytest.raises(SetupError, match='by a'):
        with files.locked(tmp_path/'lock', lambda who: SetupError(f'taken by {who["name"]}')): pass
    first.kill(), first.communicate()
    assert not files.is_locked(tmp_path/'lock')
    with files.locked(tmp_path/'lock', lambda who: SetupError('taken')): assert files.is_locked(tmp_path/'lock')
    with files.locked(tmp_path/'lock', remove=True): pass # as one who waits
    assert [p.name for p in tmp_path.iterdir()] == ([] if number else ['lock.held']) # of `filelock`, which keeps it where it can lock it

def test_a_holder_that_is_silent_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'fcntl', SimpleNamespace(flock=refuse(errno.ENOLCK), LOCK_SH=0, LOCK_EX=0, LOCK_NB=0))
    mark = tmp_path/'lock.held' # of another machine
    for age, held in ((files.SILENT/2, True), (2*files.SILENT, False)):
        (tmp_path/'lock').touch(), mark.write_text('4711\nanother-pod\n'), os.utime(mark, (time.time() - age,)*2)
        assert files.is_locked(tmp_path/'lock') == held

def test_preflight_says_what_the_volume_lacks(tmp_path, monkeypatch):
    cfg = TrainingConfig(output_dir=tmp_path/'runs')
    assert check_output(cfg, [1])[0].verdict == OK
    monkeypatch.setattr(files, 'fcntl', SimpleNamespace(flock=refuse(errno.ENOLCK), LOCK_SH=0, LOCK_EX=0, LOCK_NB=0))
    for name in ('chmod', 'fsync'): monkeypatch.setattr(os, name, refuse(errno.EINVAL))
    found = check_output(cfg, [1])[0]
    assert found.verdict == WARNING and 'lacks locks and rights of files and forcing a file to disk and forcing a name to disk' in found.seen
    assert 'no two trainings' in found.advice and found.advice.count('power cut') == 1 and not (tmp_path/'runs').exists()

# ---- a system that has less than Linux

LESS = dict(os='fork O_NOFOLLOW pread pwrite statvfs sched_getaffinity set_blocking killpg setsid ST_RDONLY', signal='SIGKILL SIGCHLD SIGUSR1 SIGCONT SIGHUP')

def test_a_system_with_less(home, tmp_path, place):
    "Train and predict without what Windows does not have"
    def less():
        for module in ('fcntl', 'resource', 'pwd', 'grp', 'termios'): sys.modules[module] = None
        for name in [m for m in sys.modules if m.startswith('welllog_ocr')]: del sys.modules[name] # imported again, without them
        shutil.disk_usage = lambda path: SimpleNamespace(free=10**9)
        for module, names in LESS.items():
            for name in names.split(): delattr(sys.modules[module], name)
    train = ['welllog_ocr.train', '--model_name', place/'model', '--output_dir', tmp_path/'runs', '--extra_characters=', '--synth_lines', 8, '--synth_eval_lines', 2, '--language_texts', 20, '--max_steps', 4, '--eval_steps', 2, '--save_steps', 2, '--per_device_train_batch_size', 4]
    for more in ([], ['--max_steps', 6]):
        got = forked.run(*train, *more, first=less)
        assert got.returncode == 0, got.stderr[-2000:]
    assert 'supervisor is written for Linux' in forked.run('welllog_ocr.supervisor', *train[1:], first=less).stderr
    Image.new('L', (300, 40), 255).save(tmp_path/'a.png')
    got = forked.run('welllog_ocr.predict', tmp_path/'a.png', '--model', tmp_path/'runs'/'default'/'final', '--output', tmp_path/'found.csv', first=less)
    assert got.returncode == 0 and (tmp_path/'found.csv').exists(), got.stderr[-2000:]

# ---- rows of other scans

def test_only_the_scans_that_were_asked_for(place, tmp_path, monkeypatch, capsys):
    from welllog_ocr.predict import _arguments, main
    monkeypatch.chdir(tmp_path)
    (tmp_path/'c').mkdir(), (tmp_path/'d.png').touch() # which is no picture
    for i, name in enumerate(('a.png', 'b.png', 'c/a.png')): Image.effect_noise((300, 40), 20 + i).save(name)
    def read(output, *scans):
        main(_arguments([*scans, '--model', str(place/'model'), '--output', output, '--kind', 'line']))
        return capsys.readouterr().out
    def shown(): return [l[3:] for l in (tmp_path/'found.md').read_text().split('\n') if l.startswith('## ')]
    assert '3 pages' in read('found.csv', 'a.png', 'b.png', 'c/a.png')
    said = read('found.md', 'b.png', 'd.png')
    assert shown() == ['b.png', 'd.png'] and '1 page, ' in said and '1 of the pages in an earlier run' in said and 'keeps 2 pages of other scans' in said
    read('found.md', 'c/a.png')
    assert shown() == ['c/a.png'] # not the other a.png
    assert 'other scans' not in read('found.md', 'a.png', 'b.png', 'c/a.png') and len(shown()) == 3
