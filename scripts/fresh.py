"""Are the files that are made from notebooks up to date?

    python scripts/fresh.py exports          the package against nbs/
    python scripts/fresh.py readme           README.md against nbs/index.ipynb; --write makes it anew
"""
import argparse, re, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

def exports()->list[str]:
    "Modules that differ from what nbdev exports now"
    from nbdev.export import nb_export
    with tempfile.TemporaryDirectory() as tmp:
        fresh, kept = Path(tmp)/'welllog_ocr', ROOT/'welllog_ocr'
        for nb in sorted((ROOT/'nbs').rglob('*.ipynb')): nb_export(nb, lib_path=fresh)
        names = {p.relative_to(base) for base in (kept, fresh) for p in base.rglob('*.py')}
        return sorted(str(n) for n in names if n.name not in ('__init__.py', '_modidx.py') and _code(kept/n) != _code(fresh/n))

def _code(path:Path)->str:
    "A module's text; the way to its notebook, which depends on where the module lies, left out"
    return re.sub(r'[\w./-]*nbs/', 'nbs/', path.read_text(encoding='utf-8')) if path.exists() else ''

def readme()->str:
    "README.md as nbs/index.ipynb says it: prose, code that is shown, and text output; nbdev's own processors do the work"
    from nbdev.process import NBProcessor
    from nbdev.processors import clean_magics, hide_, hide_line, rm_header_dash, strip_ansi
    nb = NBProcessor(ROOT/'nbs'/'index.ipynb', procs=[strip_ansi, hide_line, rm_header_dash, clean_magics, hide_], process=True)
    parts = [_cell(c) for c in nb.nb.cells]
    return re.sub(r'\n{3,}', '\n\n', '\n\n'.join(['<!-- Made from nbs/index.ipynb by scripts/fresh.py; edit that page -->', *filter(None, parts)])).strip() + '\n'

def _cell(cell)->str:
    source = cell.source.strip()
    if cell.cell_type == 'raw' or not source: return ''
    if cell.cell_type == 'markdown': return re.sub(r'\]\((?!https?:|#)([^)]+)\)', lambda m: f"]({m[1].removeprefix('../') if m[1].startswith('../') else f'nbs/{m[1]}'})", source) # links of the page, seen from the root
    shown = '' if cell.source.startswith('#| echo: false') else f'```python\n{source}\n```'
    return '\n\n'.join(filter(None, [shown, *(_output(o) for o in cell.outputs)]))

def _output(out)->str:
    data = out.get('data', {})
    text = lambda t: ''.join(t) if isinstance(t, list) else t
    if 'text/markdown' in data: return text(data['text/markdown'])
    if out.get('output_type') == 'stream': return '\n'.join('    ' + l for l in text(out['text']).rstrip().splitlines())
    return '\n'.join('    ' + l for l in text(data['text/plain']).splitlines()) if 'text/plain' in data and 'image/png' not in data else ''

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=('exports', 'readme'))
    p.add_argument('--write', action='store_true', help='make README.md anew')
    p.add_argument('--check', action='store_true', help='fail when stale (the default)')
    args = p.parse_args()
    if args.what == 'exports':
        stale = exports()
        if stale: print(f'{", ".join(stale)}: differ from their notebooks; run nbdev_export')
        return bool(stale)
    text, path = readme(), ROOT/'README.md'
    if args.write: path.write_text(text, encoding='utf-8')
    stale = not path.exists() or path.read_text(encoding='utf-8') != text
    if stale: print('README.md differs from nbs/index.ipynb; run python scripts/fresh.py readme --write')
    return stale

if __name__ == '__main__': sys.exit(main())
