# Sourced by the other scripts: makes the environments they run in, once.
#
# Everything lives under .venv of the checkout. What was installed is remembered as the hash of
# the files that asked for it, so a second run needs no network and takes no time.

say() { printf '• %s\n' "$*" >&2; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

find_python() { # prints a Python of at least 3.11 that can make environments
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
    if [ -n "$candidate" ] && "$candidate" -c \
      'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        die "$candidate lacks the venv module (on Debian and Ubuntu: apt install python3-venv)"
      printf '%s\n' "$candidate"
      return
    fi
  done
  die "Stanchion needs Python 3.11 or newer; none was found (set PYTHON to name one)"
}

make_venv() { # make_venv DIRECTORY
  [ -x "$1/bin/python" ] && return
  local python
  python="$(find_python)" || exit 1
  say "creating $1 with $("$python" --version)"
  "$python" -m venv "$1"
}

stamp_of() { # stamp_of FILE...: one hash over the files and the interpreter
  .venv/bin/python - "$@" <<'PY'
import hashlib, sys

parts = [sys.version.encode(), *(open(name, "rb").read() for name in sys.argv[1:])]
print(hashlib.sha256(b"\0".join(parts)).hexdigest())
PY
}

is_current() { # is_current STAMP-FILE FILE...
  local stamp="$1"
  shift
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(stamp_of "$@")" ]
}

pip_install() { # pip_install PYTHON ARGUMENT...
  local python="$1"
  shift
  "$python" -m pip install --quiet --disable-pip-version-check --no-input "$@" ||
    die "pip could not install ($*); is a package index reachable?"
}

install_locked() { # install_locked LOCK: the lock and Stanchion itself into .venv
  local lock="$1" stamp=".venv/installed-${1%.lock}"
  is_current "$stamp" "$lock" pyproject.toml && return
  say "installing $lock"
  pip_install .venv/bin/python --require-hashes --requirement "$lock"
  # The lock brings the build backend, so the package builds without fetching anything more.
  pip_install .venv/bin/python --no-deps --no-build-isolation --editable .
  stamp_of "$lock" pyproject.toml >"$stamp"
}

runtime_env() { # enough to run the server and its examples
  make_venv .venv
  # The test lock holds the runtime's packages at the same versions.
  is_current .venv/installed-requirements-test requirements-test.lock pyproject.toml ||
    install_locked requirements.lock
}

test_env() { # runtime, and what the tests and checks need
  make_venv .venv
  install_locked requirements-test.lock
}

client_env() { # client_env NAME: a client whose packages cannot live beside those of .venv
  local lock="requirements-$1.lock" place=".venv/$1" stamp=".venv/installed-$1"
  [ -x "$place/bin/python" ] && is_current "$stamp" "$lock" && return
  say "installing $lock"
  rm -rf "$place"
  make_venv "$place"
  pip_install "$place/bin/python" --require-hashes --requirement "$lock"
  stamp_of "$lock" >"$stamp"
}

packages_of() { # packages_of NAME: the folder of a client's packages, for PYTHONPATH
  ".venv/$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
}
