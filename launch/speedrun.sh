#!/usr/bin/env bash
# From text to a table of fine-tuned tasks by one command: how good an encoder do MINUTES of this
# machine (a GPU, a TPU chip or a CPU) give? The record that others can compare with is speedrun.json
# in the workdir (docs/study.md):
#   SOURCE='text:WIKIPEDIA/*.txt' TASKS=GLUE_FOLDER MINUTES=15 launch/speedrun.sh [ARGUMENTS]
# TASKS holds the files of tasks; without it nothing is fine-tuned. CORPUS is the folder of the corpus,
# which is built from SOURCE unless it is there. Others, with their defaults:
#   MINUTES=15  RECIPE=configs/own.py  CORPUS=corpora/speedrun  TRIALS=3  TASK_SET=
#   TASK_NAMES (those of cola,sst2,mrpc,stsb,rte that TASKS has a folder of)
#   TARGET (such as eval/mlm_loss=4.5: when was it first reached?)
#   VENV=none uses the Python on the path, and installs nothing
# Arguments: --workdir=FOLDER (runs/speedrun) and settings of pre-training, --config.KEY=VALUE.
# MINUTES are those of pre-training, over all starts, from when its text is there to its end: loading
# the program, compiling, steps, evaluations and saves. Building the corpus and fine-tuning are timed
# apart. The same command again continues where it stopped, in each of these.
set -euo pipefail
if [[ ${1:-} == --help ]]; then
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
  exit 0
fi
again=''
for name in TASKS TASK_NAMES TRIALS TASK_SET TARGET VENV; do
  [[ -z ${!name:-} ]] || again+=" $name=${!name@Q}"
done
again="${again:+env$again }${0@Q}"
recipe=${RECIPE:-configs/own.py} minutes=${MINUTES:-15} corpus=${CORPUS:-corpora/speedrun}
run=runs/speedrun source=${SOURCE:-} settings=()
for argument in "$@"; do
  case $argument in
    --workdir=?*) run=${argument#*=} ;;
    --config=?*) recipe=${argument#*=} ;;
    --config.minutes=*) minutes=${argument#*=} ;;
    --config.data.path=?*) corpus=${argument#*=} ;;
    --config.data.source=?*) source=${argument#*=} ;;
    --config.*=*) settings+=("$argument") ;;
    *)
      echo "error: $argument is not understood, allowed: --workdir=FOLDER and --config.KEY=VALUE;" \
        '--help has the rest' >&2
      exit 1
      ;;
  esac
done
cd "$(dirname "$0")/.."

# ---- What would be missed later, before anything is installed.
if [[ -z $source && ! -f $corpus/corpus.json ]]; then
  echo "error: there is no corpus in $corpus: type SOURCE='text:FILES/*.txt' before the script to" \
    'build it there, or name another in CORPUS' >&2
  exit 1
fi
for name in TASK_NAMES TASK_SET TRIALS; do
  if [[ -n ${!name:-} && -z ${TASKS:-} ]]; then
    echo "error: $name is ${!name@Q}, but nothing is fine-tuned without TASKS: type TASKS=FOLDER, that" \
      "holds the files of tasks, before the script, or leave $name out" >&2
    exit 1
  fi
done
tasks=${TASK_NAMES:-}
if [[ -n ${TASKS:-} && -z $tasks ]]; then
  for folder in "$TASKS"/*/; do
    name=$(basename "$folder" | tr '[:upper:]' '[:lower:]' | tr -d -)
    case $name in cola | sst2 | mrpc | stsb | rte) tasks+=${tasks:+,}$name ;; esac
  done
  if [[ -z $tasks ]]; then
    echo "error: $TASKS has no folder of CoLA, SST-2, MRPC, STS-B or RTE: name the tasks that it has" \
      'in TASK_NAMES' >&2
    exit 1
  fi
fi
source launch/venv.sh
source launch/steps.sh
extras=finetune
if [[ ${JAX_PLATFORMS:-} != cpu* ]]; then
  if nvidia-smi --list-gpus > /dev/null 2>&1; then
    extras=gpu,finetune
  elif compgen -G '/dev/accel[0-9]*' > /dev/null || compgen -G '/dev/vfio/[0-9]*' > /dev/null; then
    extras=tpu,finetune
  fi
fi
[[ ${VENV:-} == none ]] || use_venv "$extras"
export XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}" # launch/gpu.sh
record=(python -m electra_jax.sweep --speedrun="$run" ${TARGET:+"--target=$TARGET"})
step "${record[@]}" --dry-run # refuses a target that there cannot be

# ---- Vocabulary and corpus, then pre-training.
words=("--config=$recipe" "--config.minutes=$minutes" "--config.data.path=$corpus")
words+=(${source:+"--config.data.source=$source"} ${settings[@]+"${settings[@]}"})
[[ -f $corpus/corpus.json ]] || step python -m electra_jax.prepare "${words[@]}"
# What its messages tell to type again: this script, which takes the same arguments.
ELECTRA_SCRIPT=$again step python -m electra_jax.main "${words[@]}" --workdir="$run"

# ---- The record, which is there already where fine-tuning is stopped; and again with its scores.
status=0
step "${record[@]}" > /dev/null || status=$?
[[ $status != 3 ]] || exit 75 # pre-training was asked to stop, and has saved
((status == 0)) || exit "$status"
if [[ -n $tasks ]]; then
  read -r -a task_settings <<< "${TASK_SET:-}"
  step python -m electra_jax.sweep --config=configs/finetune/task.py --grid "task.name=$tasks" \
    --set "init_from=$run" "data.path=$TASKS" "trials=${TRIALS:-3}" task.save=none \
    ${task_settings[@]+"${task_settings[@]}"} --folder="$run/finetune" || status=$?
fi
step "${record[@]}"
exit "$status"
