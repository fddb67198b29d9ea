#!/usr/bin/env bash
# Trains every recipe of configs/objectives/ on the quick start's corpus and leaves a table of them:
#   launch/objectives.sh [ARGUMENTS OF launch/sweep.py]
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

child=''
# A signal is for what is training, which saves before it ends.
stop() {
  [[ -z $child ]] || { kill -TERM "$child" 2> /dev/null && wait "$child"; } || true
  exit 143
}
trap stop TERM INT

sweep() { # RECIPES
  python launch/sweep.py --folder=runs/sweeps/objectives --config "$@" \
    --set "total_steps=$steps" log.every_steps=10 checkpoint.every_steps="$steps" \
    --columns=eval/mlm_loss,eval/disc_auc "${arguments[@]}" &
  child=$!
  wait "$child"
}

sweep "${others[@]}"
[[ -n $frozen ]] || exit 0
if [[ -d runs/sweeps/objectives/untied/checkpoints ]]; then
  sweep "${others[@]}" "$frozen"
else
  echo "note: $frozen is left out: it starts from runs/sweeps/objectives/untied" >&2
fi
