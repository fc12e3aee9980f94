#!/usr/bin/env bash
# Train on a rented pod: check the machine, install the tested versions, start the experiment or go on with it, and stop the pod at the end if asked.
#
#   ./scripts/setup_pod.sh [OPTION ...] [CONFIG] [--field value ...]
#
#   CONFIG             settings of the experiment [configs/experiments/quick_val.py]; --field value changes one, as for welllog_ocr.train
#   --stop-pod         stop the pod when all is over, also after a failure; needs RUNPOD_POD_ID, which a pod has
#   --volume PATH      where the volume must be mounted that outlives the pod [/workspace]; runs and caches go there
#   --ref COMMIT       check out this version of the code first
#   --any-device       go on without a graphics card
#   --check            look at the machine, and do nothing else
#   -h, --help         this text
#
# Environment, never arguments: HF_TOKEN (private models), WANDB_API_KEY (without it W&B keeps files), RUNPOD_API_KEY (a pod has one).
# On RunPod, secrets are written {{ RUNPOD_SECRET_name }} in the environment of the pod.
#
# As the start command of a pod, so that SIGTERM reaches the training and Jupyter is there too:
#   bash -c '/start.sh & exec /workspace/welllog_ocr/scripts/setup_pod.sh --stop-pod configs/experiments/quick_val.py'
# The same command on a new pod with the old volume goes on where the run was.
#
# Exit status: that of the training (0 done, 2 wrong argument, 3 machine or data, 4 budget, 5 no whole checkpoint, 130 and 143 stopped with a checkpoint).
# shellcheck disable=SC2317 # what traps call is not unreachable
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 3

volume=/workspace stop_pod='' ref='' any_device='' check_only='' signalled='' child=''
pause="${SETUP_POD_PAUSE:-5}" # Seconds between two tries

help() { sed -n '2,/^# shellcheck/{/^# shellcheck/d;s/^# \{0,1\}//p}' "$0"; }
fail() { echo "setup_pod: $2" >&2; exit "$1"; }
value() { [ -n "${2:-}" ] || fail 2 "$1 needs a value; see --help"; }

# ---- the end of it all: stop the pod, keep the status
still_running() {
    cat >&2 <<END
###############################################################################
###  THE POD IS STILL RUNNING AND COSTS MONEY.
###  It could not be stopped from here: $1
###  Stop it in the console, or: runpodctl pod stop ${RUNPOD_POD_ID:-POD_ID}
###  Next time also give a limit from outside: runpodctl pod create --stop-after 24h
###############################################################################
END
}
stop_the_pod() {
    command -v runpodctl >/dev/null || { still_running "runpodctl is not installed"; return; }
    local try why=''
    for try in 1 2 3; do
        why=$(runpodctl pod stop "$RUNPOD_POD_ID" 2>&1) && { echo "setup_pod: the pod was stopped."; return; }
        runpodctl stop pod "$RUNPOD_POD_ID" >/dev/null 2>&1 && { echo "setup_pod: the pod was stopped."; return; } # older versions say it the other way round
        echo "setup_pod: stopping the pod failed, try $try of 3: $why" >&2
        [ "$try" = 3 ] || sleep "$pause"
    done
    still_running "$why"
}
finish() {
    local status=$?
    trap - EXIT
    if [ -n "$signalled" ]; then echo "setup_pod: ended by SIG$signalled with status $status; the pod is left as it is." >&2
    elif [ -n "$stop_pod" ]; then echo "setup_pod: all is over with status $status, stopping the pod." >&2; stop_the_pod; fi
    exit "$status"
}
pass_on() { signalled="$1"; if [ -n "$child" ]; then kill -s "$1" "$child" 2>/dev/null; else exit "$2"; fi; }

# A function, because bash reads a script line by line, and --ref may change this one while it runs
main() {
    local config=configs/experiments/quick_val.py wrong=0 probe cards='' why word status late where
    while [ $# -gt 0 ]; do
        case "$1" in
            -h|--help) help; exit 0 ;;
            --stop-pod) stop_pod=1; shift ;;
            --any-device) any_device=1; shift ;;
            --check) check_only=1; shift ;;
            --volume) value "$@"; volume="$2"; shift 2 ;;
            --ref) value "$@"; ref="$2"; shift 2 ;;
            --*) break ;; # the rest is for the training
            *) config="$1"; shift; break ;;
        esac
    done
    for word in "$@"; do
        case "$word" in
            --hf_token*|--hf-token*|--wandb_api_key*|--wandb-api-key*|--runpod_api_key*|hf_????????????????*|*=hf_????????????????*|rpa_????????????????*)
                fail 2 "an argument looks like a secret, and arguments are seen by everybody on the machine and kept in logs; put it into the environment (HF_TOKEN, WANDB_API_KEY, RUNPOD_API_KEY)" ;;
            --stop-pod|--any-device|--check|--volume|--volume=*|--ref|--ref=*)
                fail 2 "$word stands behind the config or a setting; options of this script come first, see --help" ;;
        esac
    done

    [ -z "$stop_pod" ] || [ -n "${RUNPOD_POD_ID:-}" ] || fail 2 "--stop-pod needs RUNPOD_POD_ID in the environment, which every RunPod pod has; leave the option out on another machine"
    trap finish EXIT
    trap 'pass_on TERM 143' TERM
    trap 'pass_on INT 130' INT

    # ---- the machine; everything that is wrong is reported at once
    bad() { echo "setup_pod: $1" >&2; wrong=$((wrong + 1)); }
    [ -f "$config" ] || bad "$config: no such config; name a .py, .json or .toml file, such as configs/experiments/quick_val.py"
    if ! mountpoint -q "$volume" 2>/dev/null; then
        bad "$volume is not a mounted volume, so all that is written there would be lost with the pod; attach a volume when the pod is created, or name where it is: --volume PATH"
    elif ! probe=$(mktemp -d "$volume/.setup_pod.XXXXXX" 2>&1); then
        bad "$volume cannot be written to ($probe); mount it for writing, or free some of its quota"
    else rmdir "$probe"; fi
    if ! command -v nvidia-smi >/dev/null; then why='it is not installed here'
    elif ! why=$(nvidia-smi --query-gpu=name,memory.total --format=csv,noheader 2>&1); then why="it says: $why"
    elif [ -z "$why" ]; then why='it lists none'
    else cards="$why"; fi
    if [ -n "$cards" ]; then echo "setup_pod: graphics card: $cards"
    elif [ -n "$any_device" ]; then echo "setup_pod: no graphics card; going on without, as --any-device says."
    else bad "no graphics card answers nvidia-smi ($why); a pod that is started again may come without one: start another, or go on with --any-device"; fi
    [ -z "${RUNPOD_POD_ID:-}" ] || [ -n "${RUNPOD_VOLUME_ID:-}" ] || echo "setup_pod: warning: this pod has no network volume (RUNPOD_VOLUME_ID is not set): when the balance reaches zero, it and all runs on it are deleted." >&2
    [ -n "${HF_TOKEN:-}" ] || echo "setup_pod: HF_TOKEN is not set: private and gated models cannot be loaded."
    [ -n "${WANDB_API_KEY:-}" ] || echo "setup_pod: WANDB_API_KEY is not set: with use_wandb, W&B writes files for wandb sync."
    [ "$wrong" = 0 ] || { echo "setup_pod: $wrong of the above must be fixed; nothing was started." >&2; exit 3; }
    [ -z "$check_only" ] || { echo "setup_pod: the machine is ready."; exit 0; }

    # ---- the code and what it needs
    if [ -n "$ref" ]; then
        [ -z "$(git status --porcelain --untracked-files=no)" ] || fail 3 "the code has changes of its own, and --ref would put others over them; commit them, or leave --ref out"
        git fetch --quiet --tags origin || echo "setup_pod: git fetch failed; looking for $ref in what is here." >&2
        git checkout --quiet --detach "$ref" || fail 3 "git cannot check out $ref; name a commit or a tag of this repository"
    fi
    echo "setup_pod: code $(git describe --always --dirty 2>/dev/null || echo 'of unknown version')"
    export HF_HOME="${HF_HOME:-$volume/.cache/huggingface}" PIP_CACHE_DIR="${PIP_CACHE_DIR:-$volume/.cache/pip}"
    mkdir -p "$HF_HOME" || fail 3 "$HF_HOME cannot be made; free some of the quota of $volume"
    # shellcheck source=scripts/env.sh
    source scripts/env.sh
    ensure_env train || exit 3

    # ---- the experiment; no pipe, which would lose its status, and no exec, which would lose the end
    where=(--output_dir "$volume/runs")
    for word in "$@"; do case "$word" in --output_dir|--output-dir|--output_dir=*|--output-dir=*) where=() ;; esac; done
    .venv/bin/python -m welllog_ocr.supervisor --config "$config" --volume "$volume" "${where[@]}" "$@" &
    child=$!
    [ -z "$signalled" ] || kill -s "$signalled" "$child" # it came between the checks and the start
    while :; do # a signal that comes as bash begins to wait is noticed only when the wait ends, so each is short
        sleep 1 >/dev/null 2>&1 &
        wait -n "$child" "$!"; status=$?
        kill -0 "$child" 2>/dev/null || break # a signal interrupts wait while the child still saves
    done
    wait "$child" 2>/dev/null; late=$?
    [ "$late" = 127 ] || status=$late
    exit "$status"
}

main "$@"
