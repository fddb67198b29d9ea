#!/usr/bin/env bash
# Trains the arms of configs/study/ with the same operations each, fine-tunes from every run, answers
# minimal pairs, and makes one table and one plot of all records (docs/study.md):
#   SOURCE='text:WIKIPEDIA/*.txt' TASKS=FOLDER PAIRS=FOLDER launch/study.sh [ARGUMENTS]
# TASKS holds the files of tasks, PAIRS minimal pairs (.jsonl); each is left out where it is not given.
# Others, with their defaults:
#   FOLDER=runs/study  SEEDS=0,1,2  ARMS='configs/study/*.py'  PETAFLOP (that of configs/study/electra.py)
#   TASK_NAMES=cola,mrpc,stsb,rte  TRIALS=3  TASK_SET='task.epochs=3'
# Arguments: --jobs=N and --gpus=0,1 (runs at the same time, of pre-training and of fine-tuning),
# --set=KEY=VALUE (of pre-training; fine-tuning has TASK_SET), --metric=NAME, --baseline=ARM and
# --control=ARM=ARM (of the table). The same command again continues where it stopped.
set -euo pipefail
if [[ ${1:-} == --help ]]; then
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
  exit 0
fi
runs=() pretraining=() table=()
for argument in "$@"; do
  case $argument in
    --jobs=* | --gpus=*) runs+=("$argument") ;;
    --set=task.* | --set=trials=*)
      echo "error: $argument is of fine-tuning: type TASK_SET='${argument#--set=}' or TRIALS=N before the script" >&2
      exit 1
      ;;
    --set=*=*) pretraining+=("$argument") ;;
    --metric=* | --baseline=* | --control=*=*) table+=("$argument") ;;
    *)
      echo "error: $argument is not understood, allowed: --jobs=N, --gpus=0,1, --set=KEY=VALUE," \
        '--metric=NAME, --baseline=ARM, --control=ARM=ARM; --help has the rest' >&2
      exit 1
      ;;
  esac
done
cd "$(dirname "$0")/.."
folder=${FOLDER:-runs/study}
source launch/venv.sh
source launch/steps.sh
use_venv finetune
read -r -a recipes <<< "${ARMS:-configs/study/*.py}"
read -r -a task_settings <<< "${TASK_SET:-task.epochs=3}"
settings=()
[[ -z ${SOURCE:-} ]] || settings+=("data.source=$SOURCE")
[[ -z ${PETAFLOP:-} ]] || settings+=("petaflop=$PETAFLOP")

# ---- Pre-training.
step python -m electra_jax.sweep --config "${recipes[@]}" --grid "seed=${SEEDS:-0,1,2}" \
  ${settings[@]+--set "${settings[@]}"} --folder="$folder/pretrain" \
  ${runs[@]+"${runs[@]}"} ${pretraining[@]+"${pretraining[@]}"}

# ---- Means: of the arm that keeps a running one, and of the last checkpoints of plain ELECTRA.
mean() { # RUN FLAG NAME
  [[ ! -d $1/checkpoints || -d $folder/averaged/$3 ]] ||
    step python -m electra_jax.convert "--source=ours:$1" "--target=ours:$folder/averaged/$3" "$2"
}
for run in "$folder"/pretrain/average-seed=*; do mean "$run" --running_average "${run##*/}"; done
for run in "$folder"/pretrain/electra-seed=*; do
  mean "$run" --average_last=5 "average_last-${run##*-}"
done

# ---- What fine-tuning and minimal pairs start from.
starts=()
for run in "$folder"/pretrain/*-seed=* "$folder"/averaged/*-seed=*; do
  [[ ! -d $run/checkpoints || $run == */pretrain/average-seed=* ]] || starts+=("$run")
done
if ((${#starts[@]} == 0)); then
  echo "error: no run in $folder/pretrain is called ARM-seed=N: name two arms or more in ARMS" >&2
  exit 1
fi
if [[ -n ${TASKS:-} ]]; then
  printf 'init_from=%s\n' "${starts[@]}" > "$folder/starts.txt"
  step python -m electra_jax.sweep --config=configs/finetune/laptop.py --list="$folder/starts.txt" \
    --grid "task.name=${TASK_NAMES:-cola,mrpc,stsb,rte}" \
    --set "data.path=$TASKS" "trials=${TRIALS:-3}" task.save=none "${task_settings[@]}" \
    --folder="$folder/finetune" ${runs[@]+"${runs[@]}"}
fi
if [[ -n ${PAIRS:-} ]]; then
  mkdir -p "$folder/pairs"
  for run in "${starts[@]}"; do
    answers=$folder/pairs/${run##*/}.jsonl
    if [[ ! -f $answers ]]; then
      step python -m electra_jax.predict --checkpoint="$run" --task=pairs --scorer=all \
        --input="$PAIRS" --output="$answers.part"
      mv "$answers.part" "$answers"
    fi
  done
fi

# ---- The table, whose rule was written before any result.
step python -m electra_jax.sweep --study="$folder" --baseline=electra \
  --control masks_loss=mlm_loss rtd_mlm=mlm two_stage=mlm ${table[@]+"${table[@]}"}
