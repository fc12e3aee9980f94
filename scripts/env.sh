# shellcheck shell=bash
# Sourced by the other scripts. `ensure_env EXTRA` makes .venv with what the package and that extra need, and does nothing when it is there already.
# A torch that the machine brings along (a GPU pod does) is kept; otherwise the tested versions of constraints.txt are installed.

find_python() {
    local p
    for p in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
        [ -n "$p" ] && command -v "$p" >/dev/null && "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$p"; return; }
    done
    echo "No Python 3.11 or newer was found, and the package needs one; install it, or name it: PYTHON=/path/to/python3.11 $0" >&2
    exit 2
}

ensure_env() {
    local python stamp site=() pins=constraints.txt
    stamp=".venv/.ready-$1-$(cat settings.ini setup.py constraints.txt | cksum | cut -d' ' -f1)"
    [ -f "$stamp" ] && return
    if [ ! -x .venv/bin/python ]; then
        python=$(find_python) || return 2
        if "$python" -c 'import torch, torchvision' 2>/dev/null; then
            site=(--system-site-packages)
            echo "Keeping the torch of $python."
        fi
        "$python" -m venv "${site[@]}" .venv || return 3
    fi
    if grep -q 'include-system-site-packages = true' .venv/pyvenv.cfg; then
        pins=$(mktemp); grep -v '^torch' constraints.txt > "$pins"
    fi
    echo "Installing into .venv (the first time this takes a few minutes) ..."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint "$pins" --editable ".[$1]" || {
        echo "The installation failed; the lines above say why. Mend that and start again." >&2; return 3; }
    touch "$stamp"
}
