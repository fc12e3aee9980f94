"""The cards of a run and of its models"""
import re

from runs import tiny
from welllog_ocr.run.card import model_card, run_card, write_cards
from welllog_ocr.files import read_jsonl, write_jsonl
from welllog_ocr.models.core import load_recogniser
from welllog_ocr.train import train

HOSTILE = ['<script>alert(1)</script>', '![x](http://tracker/x.png)', '[x](javascript:alert(1))', 'a|b\n| c |', '</td></table>', '`code` **bold**', '\u202eevil', '---\nlicense: mit\n---']

def bare(text): return re.sub(r'\\.', '', text)

def test_cards_of_a_run(home):
    cfg = tiny(home, gpu_hourly_rate=1., max_steps=4)
    folder = train(cfg)
    card, model = (folder/'run_card.md').read_text(), (folder/'best'/'README.md').read_text()
    for what in ('Known failures', 'hardware', 'cost', 'data fingerprint', 'CER', 'versions', 'torch'): assert what in card
    for what in ('base_model', 'Data fingerprint', 'licence', 'load_recogniser'): assert what in model
    assert (folder/'final'/'README.md').exists()
    load_recogniser(str(folder/'best')) # a README does no harm
    assert re.search(r'\$0\.0\d at \$1 an hour', card)

def test_hostile_texts(home):
    cfg = tiny(home, max_steps=4)
    folder = train(cfg)
    for path in (folder/'eval').glob('*.jsonl'):
        rows = read_jsonl(path)
        write_jsonl(path, [dict(rows[i % len(rows)], id=f'{t} {i}', reference=t, prediction=t[::-1], loss=9.) for i, t in enumerate(HOSTILE)])
    write_cards(folder, HOSTILE[0])
    for text in (run_card(folder, HOSTILE[0]), model_card(folder, 'best')):
        for tag in ('<script', '![x](', '](javascript', '</td', '\u202e'): assert tag not in bare(text), tag
    widths = {len(re.sub(r'\\.', '', line).split('|')) for line in run_card(folder).split('## Known failures')[1].splitlines() if line.startswith('| ') and 'tracker' in line}
    assert widths == {6} # four cells, however many bars the texts have
