"""What holds for the whole house: imports point down, nothing unpickles, settings stand in one place."""
import ast, json, re
from configparser import ConfigParser

import pytest
from conftest import ROOT

CHAPTERS = sorted((ROOT/'nbs').glob('[0-9]*.ipynb'))

def _cells(nb, kind='code'): return [''.join(c['source']) for c in json.loads(nb.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == kind]
def _module(nb): return next(m[1] for s in _cells(nb) if (m := re.search(r'#\|\s*default_exp\s+(\S+)', s)))

def test_imports_point_to_earlier_chapters_only():
    earlier, bad = [], []
    for nb in CHAPTERS:
        for source in _cells(nb):
            if not re.search(r'^#\|\s*export', source, re.M): continue
            bad += [f'{nb.name}: {m}' for m in re.findall(r'from welllog_ocr\.([\w.]+) import', source) if m not in earlier]
        earlier.append(_module(nb))
    assert not bad

def test_chapters_before_the_models_do_not_import_torch():
    for nb in CHAPTERS:
        if nb.name >= '06': break
        for source in _cells(nb):
            tree = ast.parse(re.sub(r'^[%!].*$', '', source, flags=re.M))
            top = [a.name for n in tree.body if isinstance(n, ast.Import) for a in n.names] + [n.module or '' for n in tree.body if isinstance(n, ast.ImportFrom)]
            if '#| export' in source: assert not [m for m in top if m.split('.')[0] in ('torch', 'transformers', 'accelerate')], nb.name

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
    for nb in CHAPTERS:
        assert nb.name in quarto, f'{nb.name} is missing in _quarto.yml'
        assert nb.name in readme, f'{nb.name} is missing in the README'
    for nb in (ROOT/'nbs'/'tutorials').glob('*.ipynb'): assert f'tutorials/{nb.name}' in quarto, f'{nb.name} is missing in _quarto.yml'
    assert (ROOT/'nbs'/'_quarto.yml').resolve() == ROOT/'_quarto.yml'

def test_links_lead_somewhere():
    pages = {p: p.read_text(encoding='utf-8') for p in ROOT.glob('*.md')} | {p: '\n'.join(_cells(p, 'markdown')) for p in (ROOT/'nbs').rglob('*.ipynb')}
    links = [(p, l.split('#')[0]) for p, text in pages.items() for l in re.findall(r'\]\(([^)\s]+)\)', text) if not l.startswith(('http', '#'))]
    assert len(links) > 100 and not [(p.name, l) for p, l in links if not (p.parent/l).exists()]

def test_versions_are_pinned_inside_the_ranges():
    from packaging.requirements import Requirement
    cfg = ConfigParser(delimiters=['='])
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    pins = dict(l.split('==') for l in (ROOT/'constraints.txt').read_text().split() if '==' in l and not l.startswith('#'))
    pins = {k.lower().replace('_', '-'): v for k, v in pins.items()}
    for key in ('requirements', 'dev_requirements'):
        for text in cfg['DEFAULT'][key].split():
            req = Requirement(text)
            assert req.name.lower() in pins, f'{req.name} is not in constraints.txt'
            assert req.specifier.contains(pins[req.name.lower()]), f'{text} does not allow {pins[req.name.lower()]}'

def test_cell_ids_are_there_and_unique():
    for nb in (ROOT/'nbs').rglob('*.ipynb'):
        found = json.loads(nb.read_text(encoding='utf-8'))
        ids = [c['id'] for c in found['cells']]
        assert found['nbformat_minor'] >= 5 and len(set(ids)) == len(ids), nb.name
