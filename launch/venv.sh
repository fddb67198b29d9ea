# shellcheck shell=bash
# Sourced by the other scripts: `use_venv EXTRAS` makes .venv beside setup.py, installs the package
# there with those extras (none: ''), and puts it on PATH. Does nothing where that is done already.

use_venv() {
  local extras=$1 root stamp wanted python
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  stamp=$root/.venv/.installed${extras:+-$extras}
  wanted=$(cksum "$root/setup.py")
  python=$root/.venv/bin/python
  # `activate` is made last: without it, what is there may be half made, by a Python without
  # ensurepip (Debian's, before python3-venv is installed) for example.
  if [[ ! -x $python || ! -e $root/.venv/bin/activate ]] &&
    ! "$python" -m pip --version > /dev/null 2>&1; then
    "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
      echo "error: Python 3.11 or newer is needed; name one: PYTHON=python3.12 $0" >&2
      return 1
    }
    echo "making $root/.venv"
    "${PYTHON:-python3}" -m venv --clear "$root/.venv"
  fi
  if [[ ! -f $stamp || $(cat "$stamp") != "$wanted" ]]; then
    echo "installing the package and what it needs (a minute or two)"
    "$python" -m pip install --quiet --disable-pip-version-check \
      -e "$root${extras:+[$extras]}"
    echo "$wanted" > "$stamp"
  fi
  export PATH=$root/.venv/bin:$PATH
  export GLIBC_TUNABLES=${GLIBC_TUNABLES-glibc.malloc.hugetlb=1} # electra_jax/runtime/malloc.py
}
