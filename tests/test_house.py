"""What holds for the whole house: imports point down, nothing unpickles, settings stand in one place."""
import ast, json, re, subprocess, sys
from configparser import ConfigParser
from importlib.util import find_spec

import pytest
from conftest import ROOT

CHAPTERS = sorted(p for p in (ROOT/'nbs').rglob('[0-9]*.ipynb') if p.parent.name != 'tutorials')
BASES = {'core', 'files', 'render', 'vocabulary', 'config', 'metrics'}
MAY_IMPORT = dict(base='', data='base', draw='base data', review='base data', models='base data', eval='base data models', read='base data review models eval',
                  run='base data draw review models eval', archive='base data models eval read') # what each room may import besides itself; a command may import everything

def _cells(nb, kind='code'): return [''.join(c['source']) for c in json.loads(nb.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == kind]
def _module(nb): return next(m[1] for s in _cells(nb) if (m := re.search(r'#\|\s*default_exp\s+(\S+)', s)))
def _exported(nb): return [s for s in _cells(nb) if re.search(r'^#\|\s*export', s, re.M)]
def _room(module): return module.split('.')[0] if '.' in module else 'base' if module in BASES else 'commands'
def _imports(nb): return {m for s in _exported(nb) for m in re.findall(r'from welllog_ocr\.([\w.]+) import', s)}

@pytest.mark.parametrize('nb', CHAPTERS, ids=lambda p: p.stem)
def test_a_room_imports_only_bases_and_rooms_further_down(nb):
    room = _room(_module(nb))
    if room == 'commands': return
    bad = {m for m in _imports(nb) if _room(m) not in (room, *MAY_IMPORT[room].split())}
    assert not bad

@pytest.mark.parametrize('folder', sorted({p.parent for p in CHAPTERS}), ids=lambda p: p.name)
def test_within_a_room_imports_point_to_earlier_chapters(folder):
    earlier, here = set(), {_module(p): p for p in CHAPTERS if p.parent == folder}
    for module, nb in here.items():
        assert not (_imports(nb) & here.keys()) - earlier, nb.name
        earlier.add(module)

@pytest.mark.parametrize('room', ('base', 'data', 'draw', 'review'))
def test_rooms_that_need_no_torch_do_not_import_it(room):
    code = 'import sys\n' + ''.join(f'import welllog_ocr.{m}\n' for nb in CHAPTERS if _room(m := _module(nb)) == room) + \
           "assert not {'torch', 'transformers', 'accelerate'} & set(sys.modules)" + ("\nassert 'cv2' not in sys.modules" if room == 'base' else '')
    subprocess.run([sys.executable, '-c', code], check=True)

def test_what_reads_real_scans_does_not_draw():
    code = f"import sys, welllog_ocr.predict\nassert not [m for m in sys.modules if m.startswith('welllog_ocr.draw')]"
    subprocess.run([sys.executable, '-c', code], check=True)

def test_the_modules_are_in_their_folders():
    for nb in CHAPTERS:
        room = nb.parent.relative_to(ROOT/'nbs').as_posix()
        assert _module(nb) == ('' if room == '.' else f'{room}.') + re.sub(r'^\d+_', '', nb.stem)

@pytest.mark.parametrize('path', sorted((ROOT/'welllog_ocr').rglob('*.py')), ids=lambda p: p.name)
def test_nothing_unpickles_or_runs_foreign_code(path):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ''] if isinstance(node, ast.ImportFrom) else []
        assert not {n.split('.')[0] for n in names} & {'pickle', 'joblib', 'dill', 'cloudpickle', 'shelve', 'marshal'}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ('torch.load', 'torch.save', 'eval', 'exec', 'np.load')
            for k in node.keywords:
                if k.arg == 'trust_remote_code': assert ast.unparse(k.value) == 'False'

def test_imports_stand_alone_in_their_cells():
    "Whoever makes the documentation runs every cell with an import, and of the others only the exported ones"
    imports = (ast.Import, ast.ImportFrom)
    for nb in CHAPTERS:
        for source in _cells(nb):
            if re.search(r'^#\|\s*(export|default_exp|eval: false)', source, re.M) or 'nbdev_export()' in source: continue
            body = ast.parse(re.sub(r'^[%!].*$', '', source, flags=re.M)).body
            if any(isinstance(node, imports) for n in body for node in ast.walk(n)): assert all(isinstance(n, imports) for n in body), f'{nb.name}: {source[:200]}'

def test_every_chapter_is_on_the_shelf():
    quarto = (ROOT/'_quarto.yml').read_text(encoding='utf-8')
    readme = (ROOT/'README.md').read_text(encoding='utf-8')
    for nb in (ROOT/'nbs').rglob('*.ipynb'):
        name = nb.relative_to(ROOT/'nbs').as_posix()
        assert f'- {name}\n' in quarto, f'{name} is missing in _quarto.yml'
        if 'tutorials' not in nb.parts and name != 'index.ipynb': assert f'(nbs/{name})' in readme, f'{name} is missing in the README'
    assert (ROOT/'nbs'/'_quarto.yml').resolve() == ROOT/'_quarto.yml'

def test_links_lead_somewhere():
    pages = {p: p.read_text(encoding='utf-8') for p in ROOT.glob('*.md')} | {p: '\n'.join(_cells(p, 'markdown')) for p in (ROOT/'nbs').rglob('*.ipynb')}
    links = [(p, l.split('#')[0]) for p, text in pages.items() for l in re.findall(r'\]\(([^)\s]+)\)', text) if not l.startswith(('http', '#'))]
    assert len(links) > 100 and not [(p.name, l) for p, l in links if not (p.parent/l).exists()]

def _names(module): # what stands at the top of a module
    path = (ROOT/'welllog_ocr').joinpath(*module.split('.')[1:])
    tree = ast.parse((path/'__init__.py' if path.is_dir() else path.with_suffix('.py')).read_text(encoding='utf-8'))
    bound = lambda n: [n.id] if isinstance(n, ast.Name) else [x for e in getattr(n, 'elts', ()) for x in bound(e)]
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)): yield node.name
        elif isinstance(node, ast.ImportFrom): yield from (a.asname or a.name for a in node.names)
        elif isinstance(node, ast.Assign): yield from (x for t in node.targets for x in bound(t))

@pytest.mark.parametrize('path', sorted([*(ROOT/'bench').glob('*.py'), *(ROOT/'scripts').glob('*.py')]), ids=lambda p: p.name)
def test_what_benches_and_scripts_import_is_there(path):
    "They run by hand, and late imports in them would fail only then"
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom) and node.module.split('.')[0] == 'welllog_ocr':
            here = set(_names(node.module))
            assert {a.name for a in node.names if not (ROOT/'welllog_ocr'/f'{a.name}.py').exists()} <= here, node.module
        else:
            for name in [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names] if isinstance(node, ast.Import) else []:
                assert (path.parent/f'{name}.py').exists() or find_spec(name.split('.')[0]), f'{name}: neither a package nor a file beside it'

def test_versions_are_pinned_inside_the_ranges():
    from packaging.requirements import Requirement
    cfg = ConfigParser(delimiters=['='])
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    pins = dict(l.split('==') for l in (ROOT/'constraints.txt').read_text().split() if '==' in l and not l.startswith('#'))
    pins = {k.lower().replace('_', '-'): v for k, v in pins.items()}
    for key in (k for k in cfg['DEFAULT'] if k.endswith('requirements')):
        for text in cfg['DEFAULT'][key].split():
            if (req := Requirement(text)).name == 'welllog_ocr': continue # its own extras
            assert req.name.lower() in pins, f'{req.name} is not in constraints.txt'
            assert req.specifier.contains(pins[req.name.lower()]), f'{text} does not allow {pins[req.name.lower()]}'

def test_cell_ids_are_there_and_unique():
    for nb in (ROOT/'nbs').rglob('*.ipynb'):
        found = json.loads(nb.read_text(encoding='utf-8'))
        ids = [c['id'] for c in found['cells']]
        assert found['nbformat_minor'] >= 5 and len(set(ids)) == len(ids), nb.name
