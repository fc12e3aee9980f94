"""The scripts as a new user meets them, in a copy of the project whose python, git, nvidia-smi, runpodctl and mountpoint are stubs."""
import os, shutil, signal, subprocess, sys, time

import pytest
from conftest import ROOT

SCRIPTS = sorted((ROOT/'scripts').glob('*.sh'))

@pytest.mark.skipif(not shutil.which('shellcheck'), reason='needs shellcheck (apt-get install shellcheck)')
def test_shellcheck_finds_nothing():
    got = subprocess.run(['shellcheck', '-x', *(str(p.relative_to(ROOT)) for p in SCRIPTS)], cwd=ROOT, capture_output=True, text=True)
    assert got.returncode == 0, got.stdout

class Pod:
    "A copy of the scripts, and a machine of stubs around it"
    def __init__(self, folder):
        self.home, self.bin, self.volume, self.calls = folder/'code', folder/'bin', folder/'volume', folder/'calls'
        for d in (self.home, self.bin, self.volume): d.mkdir()
        shutil.copytree(ROOT/'scripts', self.home/'scripts')
        for name in ('settings.ini', 'setup.py', 'constraints.txt'): shutil.copy(ROOT/name, self.home)
        (self.home/'configs'/'experiments').mkdir(parents=True)
        (self.home/'configs'/'experiments'/'quick_val.py').write_text('')
        (self.home/'.venv'/'bin').mkdir(parents=True)
        (self.home/'.venv'/'pyvenv.cfg').write_text('include-system-site-packages = false\n')
        self.env = {'PATH': f'{self.bin}:/usr/bin:/bin', 'HOME': str(folder), 'SETUP_POD_PAUSE': '0', 'CALLS': str(self.calls)}
        self.stub('nvidia-smi', 'echo "NVIDIA RTX 4090, 24564 MiB"'), self.stub('mountpoint', f'[ "$2" = {self.volume} ]')
        self.stub('git', 'case "$1" in describe) echo v1;; esac'), self.stub('runpodctl', 'exit 0')
        self.python('exit 0')

    def stub(self, name, body, folder=None):
        path = (folder or self.bin)/name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> "$CALLS"\n{body}\n')
        path.chmod(0o755)

    def python(self, training, install='exit 0'):
        self.stub('python', f'case "$*" in *"pip install"*) {install};; *) {training};; esac', self.home/'.venv'/'bin')

    def begin(self, *args, **env):
        return subprocess.Popen([str(self.home/'scripts'/'setup_pod.sh'), *map(str, args)], env={**self.env, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd='/',
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) # tests that run in the background ignore it, and bash cannot trap what was ignored

    def run(self, *args, volume=True, **env): # exit status, and all that was said
        p = self.begin(*(['--volume', self.volume] if volume else []), *args, **env)
        said = ''.join(p.communicate(timeout=60))
        return p.returncode, said

    def called(self, what): return [l for l in self.calls.read_text().splitlines() if what in l] if self.calls.exists() else []

@pytest.fixture
def pod(tmp_path): return Pod(tmp_path)

def test_help_says_it_all(pod):
    status, said = pod.run('--help', volume=False)
    assert status == 0 and not pod.calls.exists()
    for word in ('--stop-pod', '--volume', '--ref', '--any-device', '--check', 'HF_TOKEN', '/start.sh', 'Exit status'): assert word in said

def test_all_is_well(pod):
    status, said = pod.run('configs/experiments/quick_val.py', '--max_steps', '5', HF_TOKEN='hf_canarycanarycanary', WANDB_API_KEY='x'*20)
    assert status == 0, said
    start, = pod.called('welllog_ocr.supervisor')
    assert f'--volume {pod.volume} --output_dir {pod.volume}/runs --max_steps 5' in start
    install, = pod.called('pip install')
    assert '--constraint constraints.txt' in install # the tested versions
    assert (pod.volume/'.cache'/'huggingface').is_dir() and not pod.called('runpodctl')
    assert 'canary' not in said + pod.calls.read_text()
    assert pod.run()[0] == 0 and len(pod.called('pip install')) == 1 # installed once

def test_an_output_of_ones_own_is_kept(pod):
    assert pod.run('configs/experiments/quick_val.py', '--output_dir', pod.volume/'mine')[0] == 0
    assert f'{pod.volume}/runs' not in pod.called('supervisor')[0]

@pytest.mark.parametrize('args, says', [(['--volume'], 'needs a value'), (['--stop-pod'], 'needs RUNPOD_POD_ID'), (['x.py', '--hf_token', 'abc'], 'looks like a secret'), (['x.py', '--model_name', 'hf_abcdefghijklmnopqrstuvwx'], 'looks like a secret'),
                                        (['configs/experiments/quick_val.py', '--stop-pod'], 'options of this script come first')])
def test_a_wrong_argument_ends_with_2(pod, args, says):
    status, said = pod.run(*args, volume=False)
    assert status == 2 and says in said and not pod.called('supervisor')
    assert 'abcdefghij' not in said # nor is the secret repeated

def test_all_that_is_wrong_with_the_machine_is_told_at_once(pod):
    pod.stub('nvidia-smi', 'echo "no devices were found"; exit 9'), pod.stub('mountpoint', 'exit 1')
    status, said = pod.run('configs/experiments/none.py', RUNPOD_POD_ID='p1')
    assert status == 3 and not pod.called('pip install')
    for why in ('no such config', 'is not a mounted volume', 'no devices were found', '--any-device', 'no network volume', 'HF_TOKEN is not set', 'WANDB_API_KEY is not set', '3 of the above'): assert why in said, said
    assert not (pod.volume/'.cache').exists() # nothing was written where a volume should be

def test_an_unmounted_volume_is_not_made(pod, tmp_path):
    status, said = pod.run('--volume', tmp_path/'workspace', volume=False)
    assert status == 3 and 'is not a mounted volume' in said and not (tmp_path/'workspace').exists()

def test_a_machine_without_a_card_on_purpose(pod):
    (pod.bin/'nvidia-smi').unlink()
    assert pod.run()[0] == 3
    assert pod.run('--any-device')[0] == 0

def test_check_starts_nothing(pod):
    status, said = pod.run('--check')
    assert status == 0 and 'the machine is ready' in said and not pod.called('python')

def test_an_installation_that_fails_ends_with_3(pod):
    pod.python('exit 0', install='echo "no matching distribution"; exit 1')
    status, said = pod.run('--stop-pod', RUNPOD_POD_ID='p1')
    assert status == 3 and 'The installation failed' in said and not pod.called('supervisor')
    assert pod.called('runpodctl pod stop p1') # it would cost money and do nothing

@pytest.mark.parametrize('status', [0, 1, 2, 3, 4, 5, 130, 137, 143])
def test_the_status_of_the_training_is_kept(pod, status):
    pod.python(f'exit {status}')
    assert pod.run()[0] == status
    got, said = pod.run('--stop-pod', RUNPOD_POD_ID='p1')
    assert got == status and 'the pod was stopped' in said and len(pod.called('runpodctl pod stop p1')) == 1

def test_a_pod_that_does_not_stop_is_told_loudly(pod):
    pod.stub('runpodctl', 'echo "502 bad gateway"; exit 1'), pod.python('exit 4')
    status, said = pod.run('--stop-pod', RUNPOD_POD_ID='p1')
    assert status == 4 and len(pod.called('runpodctl pod stop')) == 3
    assert 'THE POD IS STILL RUNNING AND COSTS MONEY' in said and '502 bad gateway' in said and '--stop-after' in said
    pod.stub('runpodctl', 'case "$1" in stop) exit 0;; *) exit 1;; esac') # an older one
    assert 'the pod was stopped' in pod.run('--stop-pod', RUNPOD_POD_ID='p1')[1]
    (pod.bin/'runpodctl').unlink()
    assert 'runpodctl is not installed' in pod.run('--stop-pod', RUNPOD_POD_ID='p1')[1]

def test_another_version_of_the_code(pod):
    assert pod.run('--ref', 'v2')[0] == 0 and pod.called('git checkout --quiet --detach v2')
    pod.stub('git', 'case "$1" in checkout) exit 1;; esac')
    status, said = pod.run('--ref', 'v3')
    assert status == 3 and 'cannot check out v3' in said
    pod.stub('git', 'case "$1" in status) echo " M nbs/12_train.ipynb";; esac')
    status, said = pod.run('--ref', 'v3')
    assert status == 3 and 'changes of its own' in said

@pytest.mark.parametrize('number, status', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_reaches_the_training_which_may_take_its_time(pod, number, status):
    "The stub needs half a second to save; the script waits for it, keeps its status, and leaves the pod alone"
    pod.python(f'exec {sys.executable} -S -c "import signal, sys, time, pathlib\n'
               f'signal.signal({int(number)}, lambda *a: (time.sleep(.5), pathlib.Path(\'{pod.home}/saved\').write_text(\'\'), sys.exit({status})))\n'
               f'pathlib.Path(\'{pod.home}/ready\').write_text(\'\')\ntime.sleep(60)"')
    p = pod.begin('--volume', pod.volume, '--stop-pod', RUNPOD_POD_ID='p1')
    end = time.monotonic() + 60
    while not (pod.home/'ready').exists(): assert time.monotonic() < end; time.sleep(.02)
    p.send_signal(number)
    said = ''.join(p.communicate(timeout=60))
    assert p.returncode == status and (pod.home/'saved').exists() and not pod.called('runpodctl'), said
    assert 'the pod is left as it is' in said

def test_as_the_first_process_of_a_container(pod):
    "Process 1 is not ended by SIGTERM unless it asks for it; this one passes it on"
    if subprocess.run(['unshare', '-rpf', 'true'], capture_output=True).returncode: pytest.skip('this machine allows no process namespaces')
    pod.python(f'exec {sys.executable} -S -c "import signal, sys, time, pathlib\nsignal.signal(15, lambda *a: sys.exit(143))\npathlib.Path(\'{pod.home}/ready\').write_text(\'\')\ntime.sleep(60)"')
    p = subprocess.Popen(['unshare', '-rpf', '--kill-child', str(pod.home/'scripts'/'setup_pod.sh'), '--volume', str(pod.volume)], env=pod.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not (pod.home/'ready').exists(): assert time.monotonic() < end; time.sleep(.02)
    first, = (int(c) for c in open(f'/proc/{p.pid}/task/{p.pid}/children').read().split())
    os.kill(first, signal.SIGTERM)
    assert p.wait(60) == 143

def test_resume_takes_the_run_that_was_worked_on_last(pod):
    (pod.home/'runs').mkdir()
    resume = lambda *args: subprocess.run([str(pod.home/'scripts'/'resume_training.sh'), *args], env=pod.env, capture_output=True, text=True)
    none = resume()
    assert none.returncode == 2 and 'There is no run in runs/' in none.stderr
    for k, name in enumerate(('a', 'b b', 'c')):
        (pod.home/'runs'/name/'checkpoints'/'step-00000004').mkdir(parents=True)
        (pod.home/'runs'/name/'run.json').write_text('{}')
        os.utime(pod.home/'runs'/name/'run.json', (1e9 + (k == 1), 1e9 + (k == 1)))
    assert resume().returncode == 0 and 'welllog_ocr.train --config runs/b b/config.json --output_dir runs --experiment_name b b --resume auto' in pod.called('train')[-1]
    assert resume('runs/a/checkpoints/step-00000004', '--max_steps', '9').returncode == 0
    assert '--resume runs/a/checkpoints/step-00000004 --max_steps 9' in pod.called('train')[-1] and '--checkpoint runs/a/checkpoints/step-00000004' in pod.called('checkpoint runs/a')[-1]
    pod.python('exit 5')
    assert resume('runs/a').returncode == 5
    gone = resume('runs/x')
    assert gone.returncode == 2 and 'does not exist' in gone.stderr

def test_compare_experiments_is_the_command():
    script = [sys.executable, str(ROOT/'scripts'/'compare_experiments.py')]
    got = subprocess.run([*script, '--help'], capture_output=True, text=True, cwd='/')
    assert got.returncode == 0 and '--metrics' in got.stdout
    assert subprocess.run([*script, 'a'], capture_output=True, cwd='/').returncode == 2
