#!/usr/bin/env bash
# What launch/tpu_vm.sh has done on each worker: on_worker.sh setup|start|state|log|tail|stop|kill|--help
#   setup [BUCKET]   a Python that is new enough, the package, and the bucket as ~/bucket
#   start ARGUMENTS  python -m electra_jax.main ARGUMENTS, in the background
#   state            'training: running', 'done', 'stopped' (by the command stop), 'interrupted' (by
#                    SIGTERM from elsewhere; both saved first), 'failed' or 'none'
#   log, tail        follow the log; its last lines
#   stop, kill       ask training to save and end; end it at once
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${ELECTRA_TRAINING:-$HOME/electra_training} # log.txt, and what became of it
cd "$root"
source launch/venv.sh

setup() {
  find_python
  use_venv "${ELECTRA_EXTRA-tpu}"
  [[ -z ${1:-} ]] || mount_bucket "$1"
}

# TPU VMs come with a Python of their Ubuntu's, which may be too old; uv brings one along.
find_python() {
  local check='import sys, ensurepip; sys.exit(sys.version_info < (3, 11))'
  [[ ! -e .venv/bin/activate ]] || return 0
  "${PYTHON:-python3}" -c "$check" 2> /dev/null && return 0
  python3 -m pip install --quiet --user uv
  python3 -m uv python install --quiet 3.12
  PYTHON=$(python3 -m uv python find 3.12)
  export PYTHON
}

mount_bucket() {
  mkdir -p "$HOME/bucket"
  mountpoint -q "$HOME/bucket" && return
  command -v gcsfuse > /dev/null || install_gcsfuse
  # A checkpoint gets its final name when it is complete, which renames a folder of many files.
  # The lock of a workdir is a file that other machines change: nothing of it may be cached.
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

# A process number means nothing after the machine has been started again.
is_running() {
  [[ -f $folder/pid && $(< "$folder/boot") == "$(boot)" ]] && kill -0 "$(< "$folder/pid")" 2> /dev/null
}

boot() {
  cat /proc/sys/kernel/random/boot_id
}

start() {
  if is_running; then
    echo 'training: running, already'
    return
  fi
  mkdir -p "$folder"
  rm -f "$folder"/{pid,child,status,asked}
  boot > "$folder/boot"
  use_venv "${ELECTRA_EXTRA-tpu}"
  # JAX asks the TPU's metadata which other workers there are.
  export ELECTRA_JAX_HOSTS=${ELECTRA_JAX_HOSTS-auto} PYTHONUNBUFFERED=1
  echo "\$ python -m electra_jax.main ${*@Q}" >> "$folder/log.txt"
  setsid bash "$root/launch/on_worker.sh" train "$@" >> "$folder/log.txt" 2>&1 < /dev/null &
  until [[ -s $folder/pid ]]; do
    kill -0 $! 2> /dev/null || [[ -s $folder/pid ]] || {
      echo "error: training could not be started; see the end of $folder/log.txt" >&2
      exit 1
    }
    sleep 0.1
  done
  echo 'training: running'
}

train() {
  echo $$ > "$folder/pid"
  trap '' HUP
  local status=0 before
  before=$(wc -c < "$folder/log.txt")
  ./launch/stoppable.sh python -m electra_jax.main "$@" &
  echo $! > "$folder/child"
  wait $! || status=$?
  # Where another worker was asked to stop, JAX stops this one, whose status is then 0.
  if ((status == 0)) && tail -c "+$((before + 1))" "$folder/log.txt" | grep '^stopped by ' > /dev/null
  then
    status=75
  fi
  echo "$status" > "$folder/status"
}

state() {
  if is_running; then
    echo 'training: running'
  elif [[ ! -f $folder/status ]]; then
    echo 'training: none' # never started, or lost with the machine
  else
    case $(< "$folder/status") in
      0) echo 'training: done' ;;
      75) [[ -f $folder/asked ]] && echo 'training: stopped' || echo 'training: interrupted' ;;
      *) echo "training: failed, exit status $(< "$folder/status")" ;;
    esac
  fi
}

stop() {
  is_running || { state; return; }
  touch "$folder/asked"
  kill -TERM "$(< "$folder/child")"
  echo 'asked to save and end; see the log'
}

kill_all() {
  ! is_running || kill -KILL -- "-$(< "$folder/pid")" # the whole session, by its leader's number
}

case ${1:-} in
  setup | start | train | state | stop) "$@" ;;
  kill) kill_all ;;
  log) exec tail -n 100 -F "$folder/log.txt" ;;
  tail) tail -n 40 "$folder/log.txt" ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" ;;
esac
