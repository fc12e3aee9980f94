"""An MLflow server for tests: it keeps what real clients send, in memory, doubles included; and it fails as it is told to.

    with MlflowServer() as server: ...      # server.url; server.fault: None, 'before', 'after' for each request by its number
"""
import json, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass
    def do_GET(self): self.server.owner.take(self)
    do_POST = do_PUT = do_GET

class MlflowServer:
    def __init__(self):
        self.experiments, self.runs, self.files, self.asked, self.fault, self.lock = {}, {}, {}, [], lambda n: None, threading.Lock()
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), _Handler)
        self.server.daemon_threads, self.server.owner, self.server.handle_error = True, self, lambda *a: None
        self.url = f'http://127.0.0.1:{self.server.server_port}'

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(.02,), daemon=True).start()
        return self

    def __exit__(self, *args): self.server.shutdown(), self.server.server_close()

    def take(self, h):
        body = h.rfile.read(int(h.headers.get('Content-Length') or 0))
        path, query = urlsplit(h.path).path, {k: v[0] for k, v in parse_qs(urlsplit(h.path).query).items()}
        with self.lock:
            self.asked.append((path, body))
            fault = self.fault(len(self.asked))
            code, found = (500, dict(error_code='INTERNAL_ERROR', message='as told')) if fault == 'before' else self.answer(path, query, body)
            if fault == 'after': code, found = 500, dict(error_code='INTERNAL_ERROR', message='done, but not said')
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        h.send_response(code), h.send_header('Content-Type', 'application/json'), h.send_header('Content-Length', str(len(data))), h.end_headers()
        h.wfile.write(data)

    def answer(self, path, query, body):
        if '/mlflow-artifacts/artifacts/' in path:
            name = path.partition('/mlflow-artifacts/artifacts/')[2]
            self.files[name] = body
            return 200, {}
        said = json.loads(body) if body else query
        return getattr(self, path.partition('/mlflow/')[2].replace('/', '_').replace('-', '_'))(**said)

    def experiments_get_by_name(self, experiment_name, **_):
        found = next((e for e in self.experiments.values() if e['name'] == experiment_name), None)
        return (200, dict(experiment=found)) if found else (404, dict(error_code='RESOURCE_DOES_NOT_EXIST', message='none'))

    def experiments_search(self, **_): return 200, dict(experiments=list(self.experiments.values()))

    def experiments_create(self, name, **_):
        n = str(len(self.experiments) + 1)
        self.experiments[n] = dict(experiment_id=n, name=name, artifact_location=f'mlflow-artifacts:/{n}', lifecycle_stage='active')
        return 200, dict(experiment_id=n)

    def runs_search(self, filter='', **_):
        return 200, dict(runs=[self.shown(r) for r in self.runs.values() if all(f"'{t['value']}'" in filter for t in r['tags'] if t['key'] == 'welllog_ocr.run_id')])

    def runs_create(self, experiment_id, run_name='', tags=(), **_):
        n = f'{len(self.runs):032x}'
        info = dict(run_id=n, run_uuid=n, run_name=run_name, experiment_id=experiment_id, status='RUNNING', lifecycle_stage='active', start_time=0, artifact_uri=f'mlflow-artifacts:/{experiment_id}/{n}/artifacts')
        self.runs[n] = dict(info=info, tags=list(tags), params=[], metrics=[])
        return 200, dict(run=self.shown(self.runs[n]))

    def shown(self, r): return dict(info=r['info'], data=dict(tags=r['tags'], params=r['params'], metrics=list({m['key']: m for m in r['metrics']}.values())))
    def runs_get(self, run_id, **_): return 200, dict(run=self.shown(self.runs[run_id]))

    def runs_update(self, run_id, **more):
        self.runs[run_id]['info'].update({k: v for k, v in more.items() if k in ('status', 'end_time')})
        return 200, dict(run_info=self.runs[run_id]['info'])

    def runs_log_batch(self, run_id, metrics=(), params=(), tags=()):
        for name, new in dict(metrics=metrics, params=params, tags=tags).items(): self.runs[run_id][name] += new
        return 200, {}

    def runs_set_tag(self, run_id, key, value, **_):
        self.runs[run_id]['tags'] = [t for t in self.runs[run_id]['tags'] if t['key'] != key] + [dict(key=key, value=value)]
        return 200, {}

    def metrics_get_history(self, run_id, metric_key, **_): return 200, dict(metrics=[m for m in self.runs[run_id]['metrics'] if m['key'] == metric_key])
