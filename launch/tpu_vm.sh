#!/usr/bin/env bash
# Cloud TPU VMs by gcloud: make one, train on it, delete it.
set -euo pipefail

usage() {
  cat << 'END'
usage: launch/tpu_vm.sh COMMAND --name=NAME --zone=ZONE [OPTIONS] [-- ARGUMENTS OF electra_jax.main]

commands, in the order in which they are used
  create   make the TPU VM, which costs money from here on
  setup    copy this repository's newest commit to all workers and install it
  run      start training on all workers, in the background: -- --config=configs/small.py ...
  status   state of the VM, and of training on each worker
  logs     follow the log of one worker (--worker=0)
  ssh      a shell on one worker; arguments after -- go to ssh (-L 6006:localhost:6006)
  stop     ask training to save and end
  delete   delete the VM, which ends the cost
After a preemption: delete, create, setup and run, and training continues from its checkpoint.

options (or environment variables)
  --name=NAME         TPU_VM_NAME
  --zone=ZONE         TPU_VM_ZONE      such as us-central1-a
  --project=PROJECT   TPU_VM_PROJECT   gcloud's own setting if not given
  --type=TYPE         TPU_VM_TYPE      accelerator type, such as v5litepod-8; for create
  --runtime=VERSION   TPU_VM_RUNTIME   software version, such as v2-alpha-tpuv5-lite; for create
  --bucket=BUCKET     TPU_VM_BUCKET    Cloud Storage bucket, mounted as ~/bucket; for setup
  --spot | --reserved | --on-demand    how it is paid for; create needs one of them
  --extra=FLAG        a further flag for gcloud's create, such as --extra=--network=mine; repeatable
  --worker=N          of logs and ssh (default: 0)
  --dry-run           print every command that would be run, and run none

gcloud lists what there is: gcloud compute tpus accelerator-types list --zone=ZONE
                            gcloud compute tpus tpu-vm versions list --zone=ZONE
END
}

fail() {
  echo "error: $1" >&2
  exit 2
}

name=${TPU_VM_NAME:-} zone=${TPU_VM_ZONE:-} project=${TPU_VM_PROJECT:-}
type=${TPU_VM_TYPE:-} runtime=${TPU_VM_RUNTIME:-} bucket=${TPU_VM_BUCKET:-}
payment='' worker=0 dry='' extra=() arguments=()
root=$(cd "$(dirname "$0")/.." && pwd)

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
    --spot | --reserved | --on-demand)
      [[ -z $payment ]] || fail "$payment and $1: only one of them"
      payment=$1
      ;;
    --extra=*) extra+=("${1#*=}") ;;
    --worker=*) worker=${1#*=} ;;
    --dry-run) dry=yes ;;
    --) shift; arguments=("$@"); break ;;
    *) fail "$1 is not an option; launch/tpu_vm.sh --help lists them" ;;
  esac
  shift
done

needs() {
  local option
  for option in "$@"; do
    [[ -n ${!option} ]] || fail "$command needs --$option=... (or TPU_VM_${option^^})"
  done
}

vm() { # COMMAND [ARGUMENTS]: prints the gcloud command, and runs it unless this is a dry run
  local location=(--zone="$zone")
  [[ -z $project ]] || location+=(--project="$project")
  go gcloud compute tpus tpu-vm "$1" "${location[@]}" "${@:2}"
}

go() {
  if [[ -n $dry ]]; then echo "${*@Q}"; else echo "+ ${*@Q}" >&2 && "$@"; fi
}

on_workers() { # WORKER COMMAND
  vm ssh "$name" --worker="$1" --command="$2"
}

create() {
  needs type runtime
  [[ -n $payment ]] || fail 'name how it is paid for: --spot, --reserved or --on-demand'
  [[ $payment == --on-demand ]] || extra+=("$payment")
  vm create "$name" --accelerator-type="$type" --version="$runtime" "${extra[@]}"
}

setup() {
  [[ $(git -C "$root" rev-parse --is-shallow-repository) == false ]] ||
    fail "$root is not a whole clone, whose commit can be copied: git -C $root fetch --unshallow"
  [[ -z $(git -C "$root" status --porcelain) ]] ||
    echo 'note: the newest commit is copied; changes that are not committed stay here' >&2
  bundle=$(mktemp)
  trap 'rm -f "$bundle"' EXIT
  go git -C "$root" bundle create --quiet "$bundle" HEAD
  vm scp "$bundle" "$name:electra_jax.bundle" --worker=all
  on_workers all "git init --quiet electra_jax &&\
 git -C electra_jax fetch --quiet ../electra_jax.bundle HEAD &&\
 git -C electra_jax checkout --quiet --detach FETCH_HEAD &&\
 bash electra_jax/launch/on_worker.sh setup ${bucket@Q}"
}

run() {
  [[ ${#arguments[@]} -gt 0 ]] || fail 'name the recipe: -- --config=configs/small.py --workdir=...'
  # What messages tell to type again.
  local again="launch/tpu_vm.sh run --name=$name --zone=$zone${project:+ --project=$project} --"
  on_workers all "if [ ! -e electra_jax/launch/on_worker.sh ]; then\
 echo 'error: nothing is installed here: launch/tpu_vm.sh setup comes before run' >&2; exit 2; fi;\
 export ELECTRA_SCRIPT=${again@Q} &&\
 bash electra_jax/launch/on_worker.sh run ${arguments[*]@Q}"
}

case $command in
  --help | help) usage; exit 0 ;;
  create | setup | run | status | logs | ssh | stop | delete) ;;
  *) fail "$command is not a command; launch/tpu_vm.sh --help lists them" ;;
esac
needs name zone
[[ -n $dry ]] || command -v gcloud > /dev/null ||
  fail 'gcloud is not installed: https://cloud.google.com/sdk/docs/install'
if [[ -z $dry$project ]]; then
  project=$(gcloud config get-value project 2> /dev/null) || project=''
  [[ -n ${project//(unset)/} ]] ||
    fail 'no Google Cloud project is set: name it with --project=PROJECT (gcloud projects list)'
fi
case $command in
  status)
    vm describe "$name" '--format=value(name,acceleratorType,state,health)'
    on_workers all 'bash electra_jax/launch/on_worker.sh status'
    ;;
  logs) on_workers "$worker" 'tail -n 100 -F electra_training/log.txt' ;;
  ssh) vm ssh "$name" --worker="$worker" ${arguments[0]+-- "${arguments[@]}"} ;;
  stop) on_workers all 'bash electra_jax/launch/on_worker.sh stop' ;;
  delete) vm delete "$name" ;;
  *) "$command" ;;
esac
