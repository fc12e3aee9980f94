#!/usr/bin/env bash
# Go on with a run: ./scripts/resume_training.sh [RUN or CHECKPOINT] [--field value ...]
# Without a name it takes the run that was worked on last. It shows what it will continue, then continues.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/env.sh

case "${1:-}" in -h|--help) sed -n '2,3s/^# //p' "$0"; exit 0;; esac

what=""
if [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; then what="$1"; shift; fi
if [ -z "$what" ]; then
    for run in runs/*/run.json; do [ -f "$run" ] && { [ -z "$what" ] || [ "$run" -nt "$what/run.json" ]; } && what=$(dirname "$run"); done
    [ -n "$what" ] || { echo "There is no run in runs/; start one with scripts/quickstart.sh, or name its folder: $0 RUN" >&2; exit 2; }
fi
[ -e "$what" ] || { echo "$what does not exist; name a run folder (it holds run.json) or one of its checkpoints (step-...)" >&2; exit 2; }

ensure_env train
run="$what" resume=auto only=()
if [ -f "$what/manifest.json" ] || [[ "$(basename "$what")" == step-* ]]; then
    resume="$what" run=$(dirname "$(dirname "$what")") only=(--checkpoint "$what")
fi
[ -f "$run/run.json" ] || { echo "$run holds no run.json, so it is not a run; name a run folder or one of its checkpoints" >&2; exit 2; }

.venv/bin/python -m welllog_ocr.checkpoint "$run" "${only[@]}"
exec .venv/bin/python -m welllog_ocr.train --config "$run/config.json" --output_dir "$(dirname "$run")" --experiment_name "$(basename "$run")" --resume "$resume" "$@"
