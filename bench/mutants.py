"""Do the tests notice when the code is wrong? Small mistakes are put into modules, one at a time, and the tests of each are run.

    python bench/mutants.py [--modules files metrics ...] [--n 60] [--seed 0] [--save mutants.jsonl]

A mistake is a comparison, an operation, a number, a truth value or a word that is another one, a condition the other way round, a statement or a returned value that is missing. `--n` of each module are drawn at random, evenly over its functions. Each is tried in a copy of the tree: first by what its page
tries (its cells, on the changed module), then by the files of tests that are named below, until one of them fails; who takes ten times as long has failed too. Survivors are printed with their line, to be looked at: a test is missing, or the mistake is none. What is in --save is not tried again.
"""
import argparse, ast, importlib, json, multiprocessing, os, random, shutil, signal, subprocess, sys, tempfile, time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).parent.parent
TESTS = { # module -> (its page, files of tests, the quickest first)
    'files':          ('01_files', 'test_files test_volumes test_export'),
    'metrics':        ('04_metrics', 'test_metrics'),
    'run.checkpoint': ('run/03_checkpoint', 'test_identity test_volumes test_checkpoint_faults'),
    'run.state':      ('run/07_state', 'test_identity test_training_faults'),
    'eval.fields':    ('eval/06_fields', 'test_forms test_evaluate'),
    'read.fields':    ('read/06_fields', 'test_page test_forms test_records_odd')}
SWAPS = {ast.Lt: '<=', ast.LtE: '<', ast.Gt: '>=', ast.GtE: '>', ast.Eq: '!=', ast.NotEq: '==', ast.In: 'not in', ast.NotIn: 'in', ast.Is: 'is not', ast.IsNot: 'is'}
SUMS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr}

# ---- which mistakes there are

def mistakes(node):
    "Yields what may stand in place of a node"
    text = ast.unparse
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield f'({text(node.left)} {SWAPS[type(node.ops[0])]} {text(node.comparators[0])})'
    elif isinstance(node, ast.BoolOp):
        yield '(' + {ast.And: ' or ', ast.Or: ' and '}[type(node.op)].join(f'({text(v)})' for v in node.values) + ')'
    elif isinstance(node, ast.BinOp) and type(node.op) in SUMS: yield f'({text(ast.BinOp(node.left, SUMS[type(node.op)](), node.right))})'
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not): yield f'({text(node.operand)})'
    elif isinstance(node, ast.IfExp): yield f'({text(ast.IfExp(node.test, node.orelse, node.body))})'
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool): yield str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)): yield f'{node.value + 1}'
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value: yield repr('XX' + node.value)
    elif isinstance(node, (ast.If, ast.While)): yield node.test, f'not ({text(node.test)})'
    elif isinstance(node, ast.Return) and node.value is not None: yield 'return None'
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call): yield 'pass'
    elif isinstance(node, ast.Break): yield 'continue'
    elif isinstance(node, ast.Continue): yield 'break'

def parts(tree):
    "Yields (name of the function, node) of all that can be changed: no docstrings, no annotations, no text for people"
    def walk(node, name):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = f'{name}.{node.name}' if name else node.name
            for child in [*getattr(node, 'args', ast.arguments([], [], None, [], [], None, [])).defaults, *node.body]: yield from walk(child, name)
            return
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant): return
        if isinstance(node, ast.Raise) or isinstance(node, ast.JoinedStr): return # words of a message
        if isinstance(node, (ast.Import, ast.ImportFrom)): return
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ('print', 'warn'): return
        if name: yield name, node
        for field, child in ast.iter_fields(node):
            if field == 'annotation': continue
            for c in child if isinstance(child, list) else [child]:
                if isinstance(c, ast.AST): yield from walk(c, name)
    yield from walk(tree, '')

def offsets(source, node):
    "Where the text of a node begins and ends"
    lines = source.encode().splitlines(True)
    at = lambda row, col: sum(map(len, lines[:row - 1])) + col
    return at(node.lineno, node.col_offset), at(node.end_lineno, node.end_col_offset)

def mutants(source):
    "(function, line, what stood there, what stands there, changed source)"
    found = defaultdict(list)
    for name, node in parts(ast.parse(source)):
        for m in mistakes(node):
            node_, new = m if isinstance(m, tuple) else (node, m)
            a, b = offsets(source, node_)
            raw = source.encode()
            changed = (raw[:a] + new.encode() + raw[b:]).decode()
            try: ast.parse(changed)
            except SyntaxError: continue
            found[name].append((name, node_.lineno, raw[a:b].decode(), new, changed))
    return found

def draw(source, n, seed):
    "`n` of them, evenly over the functions"
    found, rng, out = mutants(source), random.Random(seed), []
    for some in found.values(): rng.shuffle(some)
    while len(out) < n and any(found.values()):
        for name in rng.sample(sorted(found), len(found)):
            if found[name] and len(out) < n: out.append(found[name].pop())
    return out

# ---- one is tried, in a process of its own

def try_page(page, module):
    "The cells of a page that are not exported, on the module as it is"
    there = vars(importlib.import_module(f'welllog_ocr.{module}'))
    os.chdir(Path('nbs')/Path(page).parent)
    for cell in json.loads(Path(f'{Path(page).name}.ipynb').read_text(encoding='utf-8'))['cells']:
        text = ''.join(cell['source'])
        if cell['cell_type'] != 'code' or text.startswith(('#| export', '#| default_exp', '#| slow', '#| cuda', '#| notest', '#| eval: false')): continue
        exec(compile(text, page, 'exec'), there)

def worker(tree, module, page, file):
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    os.environ.update(PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE='1', HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1', TQDM_DISABLE='1')
    sys.dont_write_bytecode = True
    if file is None: return try_page(page, module)
    import pytest
    sys.exit(int(pytest.main(['-x', '-q', '-p', 'no:cacheprovider', '-W', 'ignore', f'tests/{file}.py'])))

def started(*args):
    if pid := os.fork(): return pid
    os.setsid()
    for fd in (0, 1, 2): os.dup2(os.open(os.devnull, os.O_RDWR), fd)
    status = 1
    try: worker(*args); status = 0
    except SystemExit as e: status = int(e.code or 0)
    except BaseException: pass
    finally: os._exit(status)

def passes(args, limit):
    "(did it pass, seconds)"
    begin, pid = time.monotonic(), started(*args)
    while time.monotonic() < begin + limit:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            try: os.killpg(pid, signal.SIGKILL) # what it left
            except ProcessLookupError: pass
            return status == 0, time.monotonic() - begin
        time.sleep(.02)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False, limit

def trials(module): return [None, *TESTS[module][1].split()]

def judge(tree, module, source, limits):
    "What noticed the mistake; '' for nothing"
    (tree/'welllog_ocr'/f'{module.replace(".", "/")}.py').write_text(source, encoding='utf-8')
    for file in trials(module):
        if not passes((tree, module, TESTS[module][0], file), limits[file])[0]: return file or 'page'
    return ''

def copy_tree(folder):
    for name in ('welllog_ocr', 'nbs', 'tests', 'configs', 'scripts', 'settings.ini', 'setup.py', 'pytest.ini', 'constraints.txt', 'README.md'):
        src = ROOT/name
        (shutil.copytree if src.is_dir() else shutil.copy)(src, folder/name)
    for p in folder.rglob('__pycache__'): shutil.rmtree(p)

def measure(module, args, save, known):
    source = (ROOT/'welllog_ocr'/f'{module.replace(".", "/")}.py').read_text(encoding='utf-8')
    todo = [m for m in draw(source, args.n, args.seed) if (module, *m[1:4]) not in known]
    with tempfile.TemporaryDirectory() as tmp:
        trees = [Path(tmp)/str(i) for i in range(args.workers)]
        for t in trees: copy_tree(t)
        limits = {}
        for file in trials(module):
            ok, took = passes((trees[0], module, TESTS[module][0], file), 900)
            if not ok: sys.exit(f'{module}: {file or "its page"} fails without any mistake')
            limits[file] = max(30, 10*took)
            print(f'  {module}: {file or "its page"} takes {took:.0f} s', flush=True)
        free = Queue()
        for t in trees: free.put(t)
        def one(m):
            tree = free.get()
            try: by = judge(tree, module, m[4], limits)
            finally: free.put(tree)
            row = dict(module=module, function=m[0], line=m[1], was=m[2], now=m[3], by=by)
            with open(save, 'a') as f: print(json.dumps(row, ensure_ascii=False), file=f)
            if not by: print(f'  survives: {module}:{m[1]} {m[0]}: {m[2][:90]!r} -> {m[3][:90]!r}', flush=True)
            return row
        with ThreadPoolExecutor(args.workers) as pool: return list(pool.map(one, todo))

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--modules', nargs='+', default=list(TESTS), choices=list(TESTS))
    p.add_argument('--n', type=int, default=60)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--workers', type=int, default=2)
    p.add_argument('--save', default='mutants.jsonl')
    args = p.parse_args()
    sys.path.insert(0, str(ROOT/'tests'))
    import accelerate, cv2, datasets, execnb.shell, fastcore.test, matplotlib.figure, nbdev.showdoc, pytest, torch, transformers # before the forks; nothing of ours
    rows = [json.loads(l) for l in open(args.save)] if os.path.exists(args.save) else []
    for module in args.modules:
        known = {(r['module'], r['line'], r['was'], r['now']) for r in rows}
        rows += measure(module, args, args.save, known)
    print('| module | mistakes | noticed | share | by its page |\n|---|---:|---:|---:|---:|')
    for module in args.modules:
        own = [r for r in rows if r['module'] == module]
        hit = [r for r in own if r['by']]
        print(f'| {module} | {len(own)} | {len(hit)} | {len(hit)/len(own):.0%} | {sum(r["by"] == "page" for r in hit)} |')
