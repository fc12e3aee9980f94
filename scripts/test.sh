#!/usr/bin/env bash
# Every test: exports and README fresh, notebooks (nbdev_test), pytest. Ends with a line "N passed, N failed".
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
source scripts/env.sh
ensure_env dev || exit 1
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE TQDM_DISABLE=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONDONTWRITEBYTECODE=1
passed=0 failed=0
python -m compileall -q welllog_ocr tests # read by every process that is started; without it each would compile them
count() { if [ "$1" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $2"; fi; }

echo "== exports and README"
python scripts/fresh.py exports; count $? "the modules differ from their notebooks: run nbdev_export"
python scripts/fresh.py readme;  count $? "README.md differs from nbs/index.ipynb: run python scripts/fresh.py readme --write"

echo "== notebooks"
total=$(find nbs -name '*.ipynb' -not -path '*/.*' | wc -l)
log=$(mktemp)
# unbuffered: the two workers write into one log, and a buffer may end in the middle of a name
PYTHONUNBUFFERED=1 nbdev_test --n_workers 2 --do_print >"$log" 2>&1; status=$?
bad=$(sed -n '/Failed On The Following Notebooks/,$p' "$log" | grep -c '\.ipynb')
[ "$status" -ne 0 ] && { tail -n 60 "$log"; [ "$bad" -eq 0 ] && bad=1; }
ran=$(grep -oE '(Starting|Completed) [^ ]*\.ipynb' "$log" | cut -d' ' -f2 | sort -u | wc -l)
[ "$ran" -ne "$total" ] && { echo "FAILED: $ran of $total notebooks were run"; failed=$((failed + 1)); }
passed=$((passed + total - bad)) failed=$((failed + bad))
echo "$((total - bad)) of $total notebooks passed"

echo "== pytest, two files at a time"
logs=$(mktemp -d)
# the longest first, so that the two end together
first="test_training_faults test_browser test_archive test_predict test_supervisor test_record_review test_evaluate test_doctor test_commands test_runpod test_lora test_processes test_wandb test_scenes test_volumes test_checkpoint_faults test_vlm_records test_app test_tutorials test_memory test_deploy test_records_odd test_planted test_trackers test_orient test_headers test_preflight test_server test_page test_chat test_budget test_seq2seq test_versions"
files=$(for f in $first; do echo "tests/$f.py"; done; for f in tests/test_*.py; do case " $first " in *" $(basename "$f" .py) "*) ;; *) echo "$f";; esac; done)
echo "$files" | python tests/two_at_a_time.py "$logs" "$@"
for log in "$logs"/*.log; do
    p=$(grep -oE '[0-9]+ passed' "$log" | tail -1 | cut -d' ' -f1) f=$(tail -n 1 "$log" | grep -oE '[0-9]+ (failed|errors?)' | cut -d' ' -f1 | paste -sd+ | sed 's/^$/0/')
    f=$((${f:-0}))
    passed=$((passed + ${p:-0})) failed=$((failed + f))
    [ "$(cat "${log%.log}.status")" -eq 0 ] && continue
    [ "$f" -eq 0 ] && failed=$((failed + 1))
    echo; echo "== $(basename "$log" .log)"; tail -n 60 "$log"
done
[ "$(find "$logs" -name '*.status' | wc -l)" -eq "$(echo "$files" | wc -l)" ] || { echo "FAILED: not every file of tests/ was run"; failed=$((failed + 1)); }

echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
