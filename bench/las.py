"""LAS files of all pages that were read, read back: is every text the same, and does a checker of LAS accept them?

    python bench/las.py PREDICTIONS.jsonl [--output wells.las]

The files are written as `predict --output wells.las` writes them. Each is read by lasio and checked by lascheck. The exact texts stand in ~O; a text field of the title block and of a run is compared in its own line too, where a
colon stands as a semicolon and blanks are single. What differs is listed.
"""
import argparse, json, logging, tempfile
from collections import Counter
from pathlib import Path

import lascheck, lasio

from welllog_ocr.files import each_row
from welllog_ocr.read.export import page_names, record_values, write_as
from welllog_ocr.vocabulary import FIELDS

def plain(text)->str: return ' '.join(str(text).replace(':', ';').strip().strip('"').split())

def own_lines(record:dict, las):
    "(mnemonic, text on the sheet, text of its line) of the text fields that have a mnemonic for themselves"
    used = Counter(f.las2[0] for f in FIELDS.values() if f.las2)
    for end, section, values in [('', las.well, record['fields']), *((f'_{i}', las.params, r) for i, r in enumerate(record['runs'], 1))]:
        for name, v in values.items():
            f = FIELDS.get(name)
            if f and f.kind == 'text' and len(f.las2) == 1 and used[f.las2[0]] == 1:
                yield f.las2[0] + end, v['text'], str(section[f.las2[0] + end].value)

def check(path:Path, row:dict)->list[str]: # What is wrong
    checked = lascheck.read(str(path))
    wrong = [] if checked.check_conformity() else [f'lascheck: {checked.get_non_conformities()}']
    las, record = lasio.read(str(path), encoding='utf-8'), row.get('record') or dict(fields={}, runs=[])
    lines = [l.split(' = ', 1) for l in las.other.splitlines()]
    exact = [(k, json.loads(v)) for k, v in lines if k != 'other']
    other = [json.loads(v) for k, v in lines if k == 'other']
    if exact != [(k, v['text']) for k, v in record_values(row)]: wrong.append('a text of ~O differs')
    if other != [[o['label'], o['value']['text']] for o in record.get('other', ())]: wrong.append('what belongs to no field differs')
    return wrong + [f'{m}: {a!r} became {b!r}' for m, a, b in own_lines(record, las) if plain(a) != plain(b)]

def main(args):
    logging.disable(logging.WARNING) # both say of each file that it has no curves
    with tempfile.TemporaryDirectory() as tmp:
        output = args.output or Path(tmp)/'wells.las'
        write_as(args.predictions, output)
        rows = {(r['file'], r['page']): r for _, r in each_row(args.predictions) if 'error' not in r}
        names = page_names(list(rows))
        place = lambda key: output if len(names) == 1 else output.with_suffix('')/f'{names[key]}.las'
        wrong = {key: w for key in rows if (w := check(place(key), rows[key]))}
        for (file, page), found in wrong.items(): print(f'{file}, page {page + 1}:', *found, sep='\n  ')
        texts = sum(len(record_values(r)) for r in rows.values())
        print(f'{len(rows)} LAS files, {texts} values: {len(rows) - len(wrong)} files read back with every text and accepted by lascheck')
    raise SystemExit(bool(wrong))

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('predictions', type=Path)
    p.add_argument('--output', type=Path, help='keep the files here')
    main(p.parse_args())
