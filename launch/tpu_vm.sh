#!/usr/bin/env bash
# Cloud TPU VMs by gcloud, from nothing to a training run that outlives preemption.
set -euo pipefail

usage() {
  cat << 'END'
usage: launch/tpu_vm.sh COMMAND --name=NAME --zone=ZONE [OPTIONS] [-- ARGUMENTS OF electra_jax.main]

commands
  create    make the TPU VM (with --queued: ask for it, and wait until it is there)
  setup     copy this repository's newest commit to all workers and install it
  run       start training on all workers, in the background: -- --config=configs/small.py ...
  watch     create, setup and run as far as needed, then keep the run going: after a preemption
            the VM is made anew and the run goes on from its newest checkpoint; ends with the run
  status    state of the VM, and of training on each worker
  logs      follow the log of one worker (--worker=0)
  stop      ask training to save and end
  ssh       a shell on one worker; arguments after -- go to ssh (-L 6006:localhost:6006)
  delete    delete the VM, which ends the cost

options (or environment variables)
  --name=NAME         TPU_VM_NAME      of the VM, and of the queued resource
  --zone=ZONE         TPU_VM_ZONE      such as us-central1-a
  --project=PROJECT   TPU_VM_PROJECT   gcloud's own setting if not given
  --type=TYPE         TPU_VM_TYPE      accelerator type, such as v5litepod-8; to create
  --runtime=VERSION   TPU_VM_RUNTIME   software version, such as v2-alpha-tpuv5-lite; to create
  --bucket=BUCKET     TPU_VM_BUCKET    Cloud Storage bucket, mounted as ~/bucket on all workers
  --spot | --preemptible | --reserved | --on-demand
                      how it is paid for; to create, one must be named
  --queued            ask by a queued resource, and wait for capacity
  --extra=FLAG        a further flag for gcloud's create, such as --extra=--network=mine; repeatable
  --worker=N          of logs and ssh (default: 0)
  --poll=SECONDS      between two looks of watch and --queued (default: 60)
  --retries=N         of watch: starts after training failed by itself (default: 3)
  --yes               delete without asking
  --dry-run           print every command that would be run, and run none

gcloud lists what there is: gcloud compute tpus accelerator-types list --zone=ZONE
                            gcloud compute tpus tpu-vm versions list --zone=ZONE
END
}

fail() {
  echo "error: $1" >&2
  exit 2
}

say() {
  echo "$(date -u +%H:%M:%S) $1"
}

root=$(cd "$(dirname "$0")/.." && pwd)

# ---- the command line

name=${TPU_VM_NAME:-} zone=${TPU_VM_ZONE:-} project=${TPU_VM_PROJECT:-}
type=${TPU_VM_TYPE:-} runtime=${TPU_VM_RUNTIME:-} bucket=${TPU_VM_BUCKET:-}
payment='' queued='' worker=0 poll=60 retries=3 yes='' dry='' extra=() arguments=()

[[ $# -gt 0 ]] || { usage; exit 2; }
command=$1
shift
while [[ $# -gt 0 ]]; do
  case $1 in
    --name=*) name=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --runtime=*) runtime=${1#*=} ;;
    --bucket=*) bucket=${1#*=} ;;
    --spot | --preemptible | --reserved | --on-demand)
      [[ -z $payment ]] || fail "$payment and $1: only one of them"
      payment=$1
      ;;
    --queued) queued=yes ;;
    --extra=*) extra+=("${1#*=}") ;;
    --worker=*) worker=${1#*=} ;;
    --poll=*) poll=${1#*=} ;;
    --retries=*) retries=${1#*=} ;;
    --yes) yes=--quiet ;;
    --dry-run) dry=yes ;;
    --help) usage; exit 0 ;;
    --)
      shift
      arguments=("$@")
      break
      ;;
    *) fail "$1 is not understood; launch/tpu_vm.sh --help lists the options" ;;
  esac
  shift
done

needs() {
  local option variable
  for option in "$@"; do
    variable=$option
    [[ -n ${!variable} ]] || fail "$command needs --$option=... (or TPU_VM_${option^^})"
  done
}

place=(--zone="$zone")
[[ -z $project ]] || place+=(--project="$project")

# ---- gcloud

# Prints a command, and runs it unless this is a dry run.
go() {
  if [[ -n $dry ]]; then
    echo "${*@Q}"
  else
    echo "+ ${*@Q}" >&2
    "$@"
  fi
}

on_workers() { # WORKER COMMAND
  go gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" --worker="$1" --command="$2"
}

# What a describe command prints; ABSENT if there is no such thing, UNKNOWN if gcloud cannot tell,
# which must never be taken for a preemption.
state_of() {
  local said
  if said=$("$@" 2>&1); then
    echo "${said##*$'\n'}"
  elif [[ $said == *NOT_FOUND* || $said == *'not found'* ]]; then
    echo ABSENT
  else
    echo "$said" >&2
    echo UNKNOWN
  fi
}

describe_vm=(gcloud compute tpus tpu-vm describe "$name" "${place[@]}" '--format=value(state)')
describe_queue=(gcloud compute tpus queued-resources describe "$name" "${place[@]}"
  '--format=value(state.state)')
# A worker without a checkout answers, too.
ask='cd electra_jax 2> /dev/null && [ -e launch/on_worker.sh ] ||'
ask+=' { echo training: none; exit; }; bash launch/on_worker.sh state'

# ---- the commands

may_create() {
  needs type runtime
  [[ -n $payment ]] || fail 'say how it is paid for: --spot, --preemptible, --reserved or --on-demand'
  [[ -z $queued || $payment != --preemptible ]] ||
    fail 'queued resources know --spot, not --preemptible'
}

create() {
  may_create
  request
  [[ -z $queued ]] || wait_for_queue
}

request() {
  local pay=()
  [[ $payment == --on-demand ]] || pay=("$payment")
  if [[ -z $queued ]]; then
    go gcloud compute tpus tpu-vm create "$name" "${place[@]}" \
      --accelerator-type="$type" --version="$runtime" "${pay[@]}" "${extra[@]}"
  else
    go gcloud compute tpus queued-resources create "$name" "${place[@]}" --node-id="$name" \
      --accelerator-type="$type" --runtime-version="$runtime" "${pay[@]}" "${extra[@]}"
  fi
}

wait_for_queue() {
  [[ -z $dry ]] || { go "${describe_queue[@]}"; return; }
  local state=''
  while [[ $state != ACTIVE ]]; do
    state=$(state_of "${describe_queue[@]}")
    say "queued resource $name: $state"
    case $state in
      ACTIVE) ;;
      FAILED | SUSPENDED | ABSENT) fail "the queued resource is $state; delete it and ask again" ;;
      *) sleep "$poll" ;;
    esac
  done
}

may_setup() {
  git -C "$root" rev-parse --git-dir > /dev/null || fail "$root is not a git checkout"
  [[ $(git -C "$root" rev-parse --is-shallow-repository) == false ]] ||
    fail "$root is a shallow clone, whose commit cannot be copied: git -C $root fetch --unshallow"
}

setup() {
  may_setup
  [[ -z $(git -C "$root" status --porcelain) ]] ||
    echo 'note: the newest commit is copied; changes that are not committed stay here' >&2
  local bundle status=0
  bundle=$(mktemp) # of its own: several watches may be at this
  copy_and_install "$bundle" || status=$?
  rm -f "$bundle"
  return "$status"
}

copy_and_install() { # BUNDLE
  go git -C "$root" bundle create --quiet "$1" HEAD &&
    go gcloud compute tpus tpu-vm scp "$1" "$name:electra_jax.bundle" "${place[@]}" --worker=all &&
    on_workers all "git init --quiet electra_jax &&\
 git -C electra_jax fetch --quiet ../electra_jax.bundle HEAD &&\
 git -C electra_jax checkout --quiet --detach FETCH_HEAD &&\
 bash electra_jax/launch/on_worker.sh setup ${bucket@Q}"
}

may_run() {
  [[ ${#arguments[@]} -gt 0 ]] || fail 'name the recipe: -- --config=configs/small.py --workdir=...'
}

run() {
  may_run
  on_workers all "bash electra_jax/launch/on_worker.sh start ${arguments[*]@Q}"
}

# One word for all workers: failed, none, running, stopped, interrupted or done; unknown where one of
# them does not answer, for then it may be running, or gone.
training() {
  local said state
  said=$(on_workers all "$ask" 2> /dev/null) || { echo unknown; return; }
  for state in failed none running stopped interrupted 'done'; do
    [[ $said != *"training: $state"* ]] || { echo "$state"; return; }
  done
  echo unknown
}

watch() {
  # What the user must mend is said before anything costs money.
  may_create
  may_setup
  may_run
  [[ -z $dry ]] || { create; setup; run; go "${describe_vm[@]}"; return; }
  local state train failures=0
  local vm='' # asked: by us; refused: not made; seen: it was there; lost: by preemption
  while true; do
    state=ACTIVE train=''
    [[ -z $queued ]] || state=$(state_of "${describe_queue[@]}")
    # What was asked for is there, or nothing is queued: then the VM itself is asked.
    [[ $state != ACTIVE ]] || state=$(state_of "${describe_vm[@]}")
    case $state in
      READY)
        vm=seen
        train=$(training)
        ;;
      PREEMPTED | TERMINATED | SUSPENDED | FAILED)
        say "$name is $state: making it anew"
        # Where there is no capacity at the moment, this is tried again after --poll seconds.
        remove --quiet && vm=lost && request || true
        ;;
      ABSENT)
        case $vm in
          seen) fail "$name is gone, and not by preemption: watch ends" ;;
          refused) fail "$name could not be made" ;;
          '')
            # A gcloud that failed while it waited may have asked for the VM all the same.
            if request; then vm=asked; else vm=refused; continue; fi
            ;;
          *) request || true ;;
        esac
        ;;
      STOPPED) fail "$name was stopped; start or delete it, then watch again" ;;
      *) say "$name is $state" ;;
    esac
    case $train in
      # Tried again at the next look, as ssh is refused for a while after the VM was made.
      none | interrupted) { setup && run; } || true ;;
      unknown) say 'not every worker answers: looking again' ;;
      'done' | stopped)
        echo "training is $train; $name costs money until: $0 delete --name=$name --zone=$zone"
        return
        ;;
      failed)
        failures=$((failures + 1))
        if ((failures > retries)); then
          on_workers "$worker" 'bash electra_jax/launch/on_worker.sh tail' || true
          fail "training failed $failures times; $name costs money until it is deleted"
        fi
        say "training failed: start $failures of $retries"
        # Where one worker failed, the others wait for it and do not hear SIGTERM.
        { on_workers all 'bash electra_jax/launch/on_worker.sh kill' && run; } || true
        ;;
    esac
    sleep "$poll"
  done
}

remove() { # [--quiet]
  if [[ -n $queued ]]; then
    go gcloud compute tpus queued-resources delete "$name" "${place[@]}" --force "$@"
  else
    go gcloud compute tpus tpu-vm delete "$name" "${place[@]}" "$@"
  fi
}

status() {
  go gcloud compute tpus tpu-vm describe "$name" "${place[@]}" \
    '--format=value(name,acceleratorType,state,health)'
  on_workers all "$ask"
}

case $command in
  --help | help) usage; exit 0 ;;
  create | setup | run | watch | status | logs | stop | ssh | delete) ;;
  *) fail "$command is not a command; launch/tpu_vm.sh --help lists them" ;;
esac
needs name zone
[[ -n $dry ]] || command -v gcloud > /dev/null ||
  fail 'gcloud is not installed: https://cloud.google.com/sdk/docs/install'
case $command in
  logs) on_workers "$worker" 'bash electra_jax/launch/on_worker.sh log' ;;
  stop) on_workers all 'bash electra_jax/launch/on_worker.sh stop' ;;
  ssh) go gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" --worker="$worker" -- "${arguments[@]}" ;;
  delete) remove ${yes:+"$yes"} ;;
  *) "$command" ;;
esac
