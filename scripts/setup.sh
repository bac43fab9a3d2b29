# shellcheck shell=bash
# Sourced by scripts/run and scripts/test: makes one virtual environment, .venv, from the hash-pinned lock files.
# The dev set contains the run set with the same versions, so either script may come first and both share it.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv

fail() {
  printf 'labwire: %s\n' "$@" >&2
  exit 1
}

# Print the first Python on this machine that will do.
find_python() {
  local candidate
  for candidate in "${LABWIRE_PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      "$candidate" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$candidate cannot make virtual environments" "on Debian and Ubuntu: apt install python3-venv"
      printf '%s\n' "$candidate"
      return
    fi
  done
  fail "no Python 3.11 or newer found (python3 is: $(python3 --version 2>&1 | tail -1))" \
    "install one, or name it: LABWIRE_PYTHON=/path/to/python3 $0"
}

# What an environment of a set is made from: the interpreter, the lock, the project's entry points, its C files.
stamp_of() {
  {
    "$VENV/bin/python" -c 'import sys; print(sys.version_info[:2])'
    cat "$ROOT/requirements/$1.lock" "$ROOT/pyproject.toml" "$ROOT/hatch_build.py"
    cat "$ROOT"/src/labwire/instruments/queues/{build.py,native/*.[ch]}
  } | git hash-object --stdin
}

has_set() {
  [[ -r $VENV/.labwire-$1 && $(<"$VENV/.labwire-$1") == "$(stamp_of "$1")" ]]
}

# An environment whose interpreter went away or changed its version, or that came from another folder, is made anew.
is_usable() {
  "$VENV/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
    head -3 "$VENV/bin/pip" | grep --quiet --fixed-strings "$VENV/bin/python"
}

make_set() {
  local python
  if ! is_usable; then
    python=$(find_python) || exit 1
    echo "labwire: making $VENV" >&2
    "$python" -m venv --clear "$VENV" || fail "cannot make a virtual environment in $VENV"
  fi
  if has_set "$1" || { [[ $1 == run ]] && has_set dev; }; then
    return
  fi
  echo "labwire: setting up $VENV (the $1 set; needs the network, once)" >&2
  local pip=("$VENV/bin/python" -m pip install --quiet --no-input --disable-pip-version-check)
  "${pip[@]}" --require-hashes --requirement "$ROOT/requirements/$1.lock" &&
    "${pip[@]}" --no-deps --no-build-isolation --editable "$ROOT" ||
    fail "cannot install the $1 set; pip's error stands above"
  stamp_of "$1" >"$VENV/.labwire-$1"
}

# Make .venv hold the set `run` or `dev`. Two scripts that start together wait for each other.
ensure_venv() {
  (
    if command -v flock >/dev/null; then
      flock 9
    fi
    make_set "$1"
  ) 9>"$ROOT/.venv.lock" || exit 1
}
