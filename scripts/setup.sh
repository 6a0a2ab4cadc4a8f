#!/usr/bin/env bash
# Make .venv with every extra, and see that the system libraries of headless MuJoCo and OpenCV are there.
# Does nothing when both are up to date. PYTHON=/path/to/python picks the interpreter of a new .venv.
set -euo pipefail
cd -P "$(dirname "$0")/.."

fail() {
    printf '\nsetup: %s\n' "$*" >&2
    exit 1
}

may_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }
}

# apt_install PACKAGE...: install Debian packages when we are allowed to; the caller checks what came of it.
apt_install() {
    may_install || return 1
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    echo "setup: installing $*"
    # A failing update is no reason to stop: the package lists may already be there.
    "${as_root[@]}" apt-get update -qq </dev/null || true
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null
}

is_recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# The pinned version first: local wheels and constraints.txt are made for it.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3.14 python3; do
        if is_recent "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

make_venv() {
    local python version
    find_python >/dev/null || apt_install python3 python3-venv || true
    python=$(find_python) || fail "Python 3.11 or newer is needed and was not found. Install it (Debian 12: sudo apt-get install python3 python3-venv) or name it: PYTHON=/path/to/python make setup"
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install "python$version-venv" || true
        "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$python cannot make virtual environments. Run: sudo apt-get install python$version-venv"
    fi
    echo "setup: making .venv with $python ($version)"
    "$python" -m venv --clear .venv
}

check_system_libraries() {
    local missing
    missing=$(.venv/bin/python scripts/missing_libraries.py)
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086  # a list of package names
    apt_install $missing || true
    missing=$(.venv/bin/python scripts/missing_libraries.py)
    [ -n "$missing" ] || return 0
    apt_install libosmesa6 || true
    missing=$(.venv/bin/python scripts/missing_libraries.py)
    [ -z "$missing" ] || fail "system libraries are missing for headless rendering (MuJoCo) or images (OpenCV). Run: sudo apt-get install $missing"
}

# The stamp holds the folder, because a virtual environment does not survive being moved.
stamp=.venv/.gwm-sim-setup
is_up_to_date() {
    [ "$(cat $stamp 2>/dev/null)" = "$PWD" ] && [ $stamp -nt pyproject.toml ] && [ $stamp -nt constraints.txt ] && is_recent .venv/bin/python
}

is_ours() {
    is_recent .venv/bin/python && [ "$(.venv/bin/python -c 'import sys; print(sys.prefix)')" = "$PWD/.venv" ]
}

if ! is_up_to_date; then
    is_ours || make_venv
    echo "setup: installing gwm_sim with every extra into .venv (a minute or two)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[all,ray,fetch,dev]' -c constraints.txt ||
        fail "pip could not install the packages; its message is above. Is the package index reachable?"
    printf '%s' "$PWD" >$stamp
fi
check_system_libraries
