"""A JupyterLab of its own, and the browser that opens it."""
import importlib.util, os, socket, subprocess, sys, time, urllib.request
from pathlib import Path

import pytest

CHROMIUM = Path('/usr/bin/chromium')
MISSING = [what for what, there in (('chromium', CHROMIUM.exists()), ('playwright', importlib.util.find_spec('playwright')), ('jupyterlab', importlib.util.find_spec('jupyterlab'))) if not there]
needs_browser = pytest.mark.skipif(bool(MISSING), reason=f'needs {" and ".join(MISSING)}')
ARGS = '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync'.split()
SLOW = 120_000 # milliseconds; a busy machine is slow, not wrong

def start_lab(folder, *more):
    "A server for this folder, and its address; what it says is in lab.log"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    env = dict(os.environ, HOME=str(folder), PYTHONPATH=str(Path(__file__).resolve().parents[1]), JUPYTER_CONFIG_DIR=str(folder/'.config'), JUPYTER_DATA_DIR=str(folder/'.data'), JUPYTER_RUNTIME_DIR=str(folder/'.runtime'), IPYTHONDIR=str(folder/'.ipython'))
    args = ['--no-browser', '--allow-root', f'--port={port}', '--ServerApp.port_retries=0', '--ServerApp.ip=127.0.0.1', '--IdentityProvider.token=', f'--ServerApp.root_dir={folder}', '--LabApp.news_url=None', '--ServerApp.disable_check_xsrf=True',
            '--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate', *more]
    lab = subprocess.Popen([sys.executable, '-m', 'jupyterlab', *args], env=env, stdout=open(folder/'lab.log', 'w'), stderr=subprocess.STDOUT)
    url, end = f'http://127.0.0.1:{port}', time.monotonic() + 120
    while time.monotonic() < end and lab.poll() is None:
        try: urllib.request.urlopen(url + '/api', timeout=2)
        except OSError: time.sleep(.2)
        else: return lab, url
    lab.kill()
    pytest.fail('JupyterLab did not start:\n' + (folder/'lab.log').read_text()[-2000:])
