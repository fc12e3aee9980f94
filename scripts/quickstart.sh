#!/usr/bin/env bash
# From a fresh clone to a fine-tuned recogniser: environment, a drawn header as a record, fine-tuning on drawn lines, and a table of before and after.
# What is typed behind it goes to the training: ./scripts/quickstart.sh --data_path MY_LINES
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/env.sh

case "${1:-}" in -h|--help) sed -n '2,3s/^# //p' "$0"; exit 0;; esac

ensure_env train
echo "A drawn header as the record of a well, read without any training:"
[ -d runs/first_header ] || .venv/bin/python -m welllog_ocr.synth runs/first_header --n 2 --kind page --seed 3 >/dev/null
.venv/bin/python -m welllog_ocr.predict runs/first_header/train --model PP-OCRv6-small --kind page | sed -n '1,/^$/p'
echo "Now a model learns to read such headers better."
.venv/bin/python -m welllog_ocr.train --config configs/experiments/quick_val.py "$@"

cat <<'END'

Where to look next
  runs/quick_val/report.html   the run on a page, with pictures
  runs/quick_val/report.md     the table above
  runs/quick_val/curves.png    how the losses and the errors went
  runs/quick_val/eval/         every evaluation, line by line
  your own lines               ./scripts/quickstart.sh --data_path FOLDER   (FOLDER/train and FOLDER/eval, each with images and a metadata.jsonl)
  evaluate a model             .venv/bin/python -m welllog_ocr.evaluate --model runs/quick_val/best --data FOLDER --against PP-OCRv6-small
  see what is drawn            .venv/bin/python -m welllog_ocr.synth drawn_lines --n 200
END
