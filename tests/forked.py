"""A command in a fork of the process that tests, which has imported what takes seconds: what is left is the command itself."""
import os, runpy, sys, tempfile, traceback
from types import SimpleNamespace

os.environ['HF_HUB_OFFLINE'] = '1' # read when it is imported
import torch
from conftest import ROOT
from runs import import_ahead

torch.set_num_threads(1) # a thread pool does not outlive a fork
import_ahead()

def _become(work, cwd, env, out, err):
    "Do `work` and end, with the exit status that a process of python has"
    status = 1
    try:
        for file, fd in ((out, 1), (err, 2)): os.dup2(file.fileno(), fd)
        sys.stdout, sys.stderr = (open(fd, 'w', encoding='utf-8', closefd=False) for fd in (1, 2))
        os.chdir(cwd), os.environ.update(env)
        torch.set_num_threads(1) # makes the pool anew, before two threads of a backward pass do so at once
        work()
        status = 0
    except SystemExit as e: status = e.code or 0
    except BaseException: traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)

def call(work, cwd=ROOT, env={}):
    "What `work` writes and how it ends, as `subprocess.run` gives it: returncode, stdout, stderr"
    with tempfile.TemporaryFile('w+', encoding='utf-8') as out, tempfile.TemporaryFile('w+', encoding='utf-8') as err:
        pid = os.fork()
        if pid == 0: _become(work, cwd, env, out, err)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out.seek(0), err.seek(0)
        return SimpleNamespace(returncode=status, stdout=out.read(), stderr=err.read())

def run(module, *args, cwd=ROOT, env={}, first=lambda: None):
    "What `python -m module` does, after `first`"
    def command():
        sys.modules.pop(module, None)
        sys.argv = [module, *map(str, args)]
        first()
        runpy.run_module(module, run_name='__main__', alter_sys=True)
    return call(command, cwd, env)
