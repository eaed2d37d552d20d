#!/bin/sh
# Installs this checkout, editable, into a virtual environment, unless that has been done.
#
#   tools/install.sh VENV EXTRAS [PYTHON]
#
#   VENV    the folder of the virtual environment
#   EXTRAS  extras of setup.cfg, separated by commas
#   PYTHON  the interpreter; without it, the newest one that runs
#
# What was done stands in VENV/.dec_jax: `python` is the interpreter, a file for each
# extra says what it was installed from, and `unfinished` is there from before the first
# step until after the last: such an environment is made anew.
set -eu

venv=$1
extras=$2
wanted=${3:-}
state=$venv/.dec_jax

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# What the search takes: releases for which all dependencies have wheels.
is_supported='
import sys, sysconfig
assert (3, 11) <= sys.version_info < (3, 15)
assert sys.version_info.releaselevel == "final"
assert sys.implementation.name == "cpython"
assert not sysconfig.get_config_var("Py_GIL_DISABLED")
'
# Prints a number to sort by, the version and the path, such as
# "003013000 3.13.0 /usr/bin/python3.13". Inside an environment the path is its base.
describe='
import sys, ensurepip, venv
version = sys.version_info[:3]
assert version >= (3, 11)
print("%03d%03d%03d" % version, "%d.%d.%d" % version, sys._base_executable)
'

newest_python() {
    # All of PATH, not only its first hit, which may be a shim that fails; then where
    # pyenv and uv keep what they leave off PATH.
    {
        printf '%s\n' "$PATH" | tr : '\n' | while read -r folder; do
            ls -d "$folder"/python3.1[1-4] "$folder"/python3 "$folder"/python || true
        done
        ls -d "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/*/bin/python || true
        ls -d "${UV_PYTHON_INSTALL_DIR:-${HOME:-}/.local/share/uv/python}"/*/bin/python3 || true
    } 2>/dev/null | while read -r candidate; do
        # A shim may fail, or say something else: only a candidate that exits well counts.
        found=$("$candidate" -I -c "$is_supported$describe" 2>/dev/null </dev/null) || continue
        printf '%s\n' "$found"
    done | sort | tail -n 1
}

is_installed() {
    [ -d "$state" ] && [ ! -e "$state/unfinished" ] || return 1
    for extra in $(printf '%s' "$extras" | tr , ' '); do
        [ "$(cat "$state/$extra" 2>/dev/null)" = "$installed_from" ] || return 1
    done
}

is_usable() {
    [ -d "$state" ] && [ ! -e "$state/unfinished" ] || return 1
    "$venv/bin/python" -c '' 2>/dev/null || return 1
    [ -z "$wanted" ] || [ "$python" = "$(cat "$state/python")" ]
}

cd "$(dirname "$0")/.."
installed_from="$PWD $(cksum setup.cfg pyproject.toml)"
python=
if [ -n "$wanted" ]; then
    python=$("$wanted" -I -c "$describe" 2>/dev/null </dev/null) || fail \
        "PYTHON=$wanted does not run, is older than 3.11, or has no module venv."
fi
if is_usable; then
    if is_installed; then exit 0; fi
    python=$(cat "$state/python")
else
    # Only what this script made is ever deleted.
    [ ! -e "$venv" ] || [ -d "$state" ] || fail \
        "$venv was made by something else: remove it, or choose another folder, VENV=.venv-dec."
    [ -n "$python" ] || python=$(newest_python)
    [ -n "$python" ] || fail \
        "No Python 3.11 to 3.14 that runs was found (on Debian and Ubuntu it needs python3-venv): install one, or name one, PYTHON=/path/to/python."
fi

for extra in $(printf '%s' "$extras" | tr , ' '); do
    grep -q "^$extra *=" setup.cfg || fail "setup.cfg has no extra called $extra."
done
version=$(printf '%s' "$python" | cut -d ' ' -f 2)
executable=$(printf '%s' "$python" | cut -d ' ' -f 3-)
printf '%s\n' "Installing dec_jax[$extras] into $venv with Python $version: a minute or more ..."
if ! is_usable; then
    rm -rf "$venv"
    mkdir -p "$state"
    : >"$state/unfinished"
    "$executable" -m venv "$venv"
    printf '%s\n' "$python" >"$state/python"
fi
: >"$state/unfinished"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$extras]" ||
    fail "Installing with Python $version failed. Where a dependency has no wheel for it, take another: PYTHON=python3.12."
for extra in $(printf '%s' "$extras" | tr , ' '); do
    printf '%s\n' "$installed_from" >"$state/$extra"
done
rm "$state/unfinished"
