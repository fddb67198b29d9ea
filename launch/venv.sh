# shellcheck shell=bash
# Sourced by the other scripts: `use_venv EXTRAS [FOLDER]` makes a virtual environment (.venv) next
# to pyproject.toml, installs the package there with those extras (none: ''), and puts it on PATH.
# It does nothing where such an environment exists already.

use_venv() {
  local extras=$1 folder=${2:-.venv} root stamp wanted python
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  stamp=$root/$folder/.installed${extras:+-$extras}
  wanted=$(cksum "$root/pyproject.toml")
  python=$root/$folder/bin/python
  # `activate` is written last: without it, the folder may be incomplete, for example made by a Python
  # without ensurepip (Debian's, before python3-venv is installed).
  if [[ ! -x $python || ! -e $root/$folder/bin/activate ]] &&
    ! "$python" -m pip --version > /dev/null 2>&1; then
    "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
      echo "error: Python 3.11 or newer is needed; name one: PYTHON=python3.12 $0" >&2
      return 1
    }
    echo "making $root/$folder"
    "${PYTHON:-python3}" -m venv --clear "$root/$folder"
  fi
  if [[ ! -f $stamp || $(cat "$stamp") != "$wanted" ]]; then
    echo "installing the package and what it needs (a minute or two)"
    "$python" -m pip install --quiet --disable-pip-version-check \
      -e "$root${extras:+[$extras]}"
    echo "$wanted" > "$stamp"
  fi
  export PATH=$root/$folder/bin:$PATH
  export GLIBC_TUNABLES=${GLIBC_TUNABLES-glibc.malloc.hugetlb=1} # electra_jax/runtime/malloc.py
}
