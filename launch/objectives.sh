#!/usr/bin/env bash
# Trains every recipe of configs/objectives/ on the quick start's corpus and leaves a table of them:
#   launch/objectives.sh [ARGUMENTS OF launch/sweep.py]
#   RECIPES=my/recipes STEPS=1000 launch/objectives.sh --jobs=2
# 200 steps each unless STEPS says otherwise, in runs/sweeps/objectives unless --folder does. Typed
# again it goes on where it stopped.
set -euo pipefail
export LC_ALL=C  # untied.py before untied_frozen.py, which starts from it
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
exec python launch/sweep.py --folder=runs/sweeps/objectives --config "$recipes"/*.py \
  --set "total_steps=$steps" log.every_steps=10 checkpoint.every_steps="$steps" \
  --columns=eval/mlm_loss,eval/disc_auc "$@"
