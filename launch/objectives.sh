#!/usr/bin/env bash
# Trains every recipe of configs/objectives/ on the quick start's corpus and leaves a table of them:
#   launch/objectives.sh [ARGUMENTS OF electra_jax.sweep]
#   RECIPES=my/recipes STEPS=1000 launch/objectives.sh --jobs=2
# 200 steps each unless STEPS says otherwise, in runs/sweeps/objectives unless --folder does. Typed
# again it goes on where it stopped. untied_frozen.py starts from runs/sweeps/objectives/untied: it
# comes when all others are done, and is left out where there is no such run.
set -euo pipefail
if [[ ${1:-} == --help ]]; then
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
  exit 0
fi
cd "$(dirname "$0")/.."
recipes=${RECIPES:-configs/objectives}
steps=${STEPS:-200}
if ! compgen -G "$recipes/*.py" > /dev/null; then
  echo "error: no recipes in $recipes: name their folder with RECIPES=..." >&2
  exit 1
fi
source launch/venv.sh
use_venv ''
arguments=("$@") others=() frozen=''
for recipe in "$recipes"/*.py; do
  if [[ $recipe == */untied_frozen.py ]]; then frozen=$recipe; else others+=("$recipe"); fi
done

# What is training hears of SIGTERM and Ctrl-C, and saves before it ends; of a second one, too.
stop() {
  local status=143
  trap 'kill -TERM $! 2> /dev/null || true' TERM INT
  if [[ -n ${sweeps:-} ]]; then
    kill -TERM $! 2> /dev/null || true
    while true; do
      wait $! && status=0 || status=$?
      kill -0 $! 2> /dev/null || break
    done
  fi
  exit "$status"
}
trap stop TERM INT

sweep() { # RECIPES
  sweeps=yes
  # In a process group of its own: a terminal's Ctrl-C is for the whole group, so that it would hear
  # of each twice, and twice means at once.
  set -m
  python -m electra_jax.sweep --folder=runs/sweeps/objectives --config "$@" \
    --set "total_steps=$steps" log.every_steps=10 checkpoint.every_steps="$steps" \
    --columns=eval/mlm_loss,eval/disc_auc "${arguments[@]}" &
  set +m
  wait $!
}

sweep "${others[@]}"
[[ -n $frozen ]] || exit 0
if [[ -d runs/sweeps/objectives/untied/checkpoints ]]; then
  sweep "${others[@]}" "$frozen"
else
  echo "note: $frozen is left out: it starts from runs/sweeps/objectives/untied" >&2
fi
