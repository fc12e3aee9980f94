"""A W&B server for tests: it keeps what real clients send, in memory; and it can be told to misbehave.

    with WandbServer() as server: ...      # server.url, server.runs['id'].history
"""
import gzip, json, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass

    def _answer(self, obj, code=200, headers={}):
        data = json.dumps(obj).encode()
        self.send_response(code)
        for k, v in {'Content-Type': 'application/json', 'Content-Length': len(data), **headers}.items(): self.send_header(k, str(v))
        self.end_headers()
        self.wfile.write(data)

    def _body(self):
        data = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        return gzip.decompress(data) if self.headers.get('Content-Encoding') == 'gzip' else data

    def do_GET(self): self._answer({})
    def do_PUT(self):
        self.server.owner.files[self.path] = self._body()
        self._answer({})

    def do_POST(self):
        owner, body = self.server.owner, self._body()
        if owner.delay: time.sleep(owner.delay)
        owner.requests.append((self.path, body))
        if owner.status != 200: return self._answer({'error': 'as told', 'errors': [{'message': 'as told'}]}, owner.status)
        if self.path.endswith('file_stream'): return self._answer(owner.stream(self.path.split('/')[-2], json.loads(body)))
        try: self._answer({'data': owner.graphql(**{k: v for k, v in json.loads(body).items() if k in ('query', 'variables')})})
        except Exception as e: self._answer({'errors': [{'message': repr(e)}]})

class WandbServer:
    def __init__(self): self.runs, self.files, self.requests, self.delay, self.status, self.lock = {}, {}, [], 0, 200, threading.Lock()

    def __enter__(self):
        self.http = ThreadingHTTPServer(('127.0.0.1', 0), _Handler)
        self.http.daemon_threads, self.http.owner = True, self
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f'http://127.0.0.1:{self.http.server_address[1]}'
        return self

    def __exit__(self, *error):
        self.http.shutdown()
        self.http.server_close()

    def stream(self, run_id, body):
        "Lines are stored at the offset that the client names; what was there is overwritten, as on the real server"
        run = self.runs[run_id]
        with self.lock:
            for name, part in body.get('files', {}).items():
                lines = run.streams.setdefault(name, [])
                at = part['offset']
                if at > len(lines): run.gaps.append((name, at, len(lines)))
                lines[at:at + len(part['content'])] = part['content']
            if body.get('complete'): run.finished += 1
        return {'exitcode': None, 'limits': {}}

    def graphql(self, query, variables=None):
        v = variables or {}
        if 'RunResumeStatus' in query:
            run = self.runs.get(v['name'])
            return {'model': {'id': 'p', 'name': 'p', 'entity': {'id': 'e', 'name': 'e'}, 'bucket': run and self._bucket(run)}}
        if 'upsertBucket' in query:
            run, new = self.runs.get(v['name']), v['name'] not in self.runs
            if new: run = self.runs[v['name']] = SimpleNamespace(id=v['name'], streams={}, config='{}', finished=0, gaps=[], upserts=[], name=v.get('displayName'), group=v.get('groupName'))
            run.upserts.append(v)
            run.config = v.get('config') or run.config
            return {'upsertBucket': {'bucket': {**self._bucket(run), 'description': '', 'sweepName': None, 'project': {'id': 'p', 'name': 'p', 'entity': {'id': 'e', 'name': 'e'}}}, 'inserted': new}}
        if 'viewer' in query: return {'viewer': {'id': 'v', 'entity': 'e', 'username': 'u', 'email': 'u@example.org', 'flags': '{}', 'teams': {'edges': []}}}
        if 'serverInfo' in query: return {'serverInfo': {'features': [], 'cliVersionInfo': {}, 'latestLocalVersionInfo': None}}
        if 'createRunFiles' in query:
            return {'createRunFiles': {'runID': v['run'], 'uploadHeaders': [], 'files': [{'name': f, 'uploadUrl': f'{self.url}/upload/{v["run"]}/{f}'} for f in v['files']]}}
        raise ValueError(f'this server does not know {query[:60]}')

    def _bucket(self, run):
        tail = lambda name: json.dumps(run.streams.get(name, [])[-1:])
        n = lambda name: len(run.streams.get(name, []))
        return dict(id=f'b-{run.id}', name=run.id, displayName=run.name, summaryMetrics=(run.streams.get('wandb-summary.json') or ['{}'])[-1], logLineCount=n('output.log'), historyLineCount=n('wandb-history.jsonl'),
                    eventsLineCount=n('wandb-events.jsonl'), historyTail=tail('wandb-history.jsonl'), eventsTail=tail('wandb-events.jsonl'), config=run.config, tags=[], notes='', wandbConfig='{"t": 1}')

    def history(self, run_id): return [json.loads(line) for line in self.runs[run_id].streams.get('wandb-history.jsonl', [])]
