#!/usr/bin/env bash
# From a fresh clone to a fine-tuned recogniser: environment, a drawn header as a record, fine-tuning on drawn lines, and a table of before and after.
# What is typed behind it goes to the training: ./scripts/quickstart.sh --experiment_name mine --data_path MY_LINES
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/env.sh

case "${1:-}" in -h|--help) sed -n '2,3s/^# //p' "$0"; exit 0;; esac

ensure_env train
if [ ! -d runs/first_header ]; then # the first time only
    echo "A drawn header as the record of a well, read without any training:"
    .venv/bin/python -m welllog_ocr.synth runs/first_header --n 2 --kind page --seed 3 >/dev/null
    .venv/bin/python -m welllog_ocr.predict runs/first_header/train/000000.png --model PP-OCRv6-small --kind page | sed -n '1,/^$/p'
    echo "Now a model learns to read such headers better."
fi
.venv/bin/python -m welllog_ocr.train --config configs/experiments/quick_val.py "$@"

name=quick_val last=''
for word in "$@"; do
    case "$last $word" in *' --experiment_name='*) name="${word#*=}" ;; '--experiment_name '*) name="$word" ;; esac
    last="$word"
done
cat <<END

What next (after: source .venv/bin/activate)
  look at the run     runs/$name/report.html, a page with pictures
  read a scan         python -m welllog_ocr.predict --model runs/$name/best SCAN --overlay look/
  your own lines      ./scripts/quickstart.sh --experiment_name mine --data_path FOLDER   (FOLDER/train, with images and a metadata.jsonl)
  evaluate a model    python -m welllog_ocr.evaluate --model runs/$name/best --data FOLDER --against PP-OCRv6-small
  see what is drawn   python -m welllog_ocr.synth drawn_lines --n 200
END
