#!/usr/bin/env bash
# Runs on each worker for launch/tpu_vm.sh: on_worker.sh setup [BUCKET] | run ARGUMENTS | status | stop
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$HOME/electra_training # log.txt, pid, and a lock that training holds
source launch/venv.sh

setup() { # a Python that is new enough, the package, and the bucket as ~/bucket
  # TPU VMs have the Python of their Ubuntu, which may be too old.
  if [[ ! -e .venv/bin/activate ]] &&
    ! "${PYTHON:-python3}" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))'; then
    python3 -m pip install --quiet --user uv
    python3 -m uv python install --quiet 3.12
    PYTHON=$(python3 -m uv python find 3.12)
    export PYTHON
  fi
  use_venv tpu
  [[ -n ${1:-} ]] || return 0
  mkdir -p "$HOME/bucket"
  mountpoint -q "$HOME/bucket" && return
  command -v gcsfuse > /dev/null || install_gcsfuse
  # A checkpoint gets its final name when it is complete, which renames a folder of many files.
  # The lock of a workdir is a file that other machines change: it must not be cached.
  gcsfuse --implicit-dirs --rename-dir-limit=100000 --metadata-cache-ttl-secs=0 "$1" "$HOME/bucket"
}

install_gcsfuse() {
  local key=/usr/share/keyrings/cloud.google.asc host=https://packages.cloud.google.com/apt
  curl -fsSL "$host/doc/apt-key.gpg" | sudo tee "$key" > /dev/null
  echo "deb [signed-by=$key] $host gcsfuse-$(lsb_release -cs) main" |
    sudo tee /etc/apt/sources.list.d/gcsfuse.list > /dev/null
  sudo apt-get update -qq
  sudo apt-get install -qq -y gcsfuse
}

run() {
  mkdir -p "$folder"
  exec 9> "$folder/lock"
  flock --nonblock 9 || { echo 'training: running already'; return; }
  use_venv tpu
  # JAX asks the TPU's metadata which other workers there are.
  export ELECTRA_JAX_HOSTS=${ELECTRA_JAX_HOSTS-auto} PYTHONUNBUFFERED=1
  setsid launch/stoppable.sh python -m electra_jax.main "$@" >> "$folder/log.txt" 2>&1 < /dev/null &
  echo $! > "$folder/pid"
  echo 'training: running'
}

is_running() {
  [[ -e $folder/lock ]] && ! flock --nonblock "$folder/lock" true
}

case ${1:-} in
  setup | run) "$@" ;;
  status)
    if is_running; then echo 'training: running'; else echo 'training: not running'; fi
    [[ ! -e $folder/log.txt ]] || tail -n 1 "$folder/log.txt"
    ;;
  stop) ! is_running || kill -TERM "$(< "$folder/pid")" ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' launch/on_worker.sh ;;
esac
