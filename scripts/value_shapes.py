"""Count how drawn headers write the values of their fields: python scripts/value_shapes.py

Writes welllog_ocr/value_shapes.json, which `read.shapes` reads. Drawn headers are written by rules and lists of words that no
scan was used for."""
from collections import defaultdict

from welllog_ocr.draw.forms import lay_out
from welllog_ocr.draw.page import page_record
from welllog_ocr.files import write_json
from welllog_ocr.models.ngram import count_ngrams
from welllog_ocr.read.shapes import GROUPS, ORDER, SHAPES, shape_of

HEADERS, LEAST = 3000, 3 # headers that are counted; a piece has to come so often


def main():
    texts = defaultdict(list)
    for i in range(HEADERS):
        record = page_record(lay_out('value-shapes', i))
        for values in (record['fields'], *record['runs']):
            for name, text in values.items():
                if name in GROUPS: texts[GROUPS[name]].append(shape_of(text))
    often = lambda group: {p: n for p, n in count_ngrams(texts[group], ORDER).pieces.items() if n >= LEAST}
    write_json(SHAPES, {group: dict(sorted(often(group).items())) for group in sorted(texts)})


if __name__ == '__main__':
    main()
