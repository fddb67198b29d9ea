#!/usr/bin/env bash
# Trains every recipe of configs/objectives/ on the quick start's corpus, and makes a table of them:
#   launch/objectives.sh [ARGUMENTS OF electra_jax.sweep]
#   RECIPES=my/recipes STEPS=1000 launch/objectives.sh --jobs=2
# Each has STEPS steps (default 200), in --folder (default runs/sweeps/objectives). The same command
# again continues where it stopped. untied_frozen.py starts from the run untied of that folder: it is
# trained after all others, and left out where there is no such run.
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
source launch/steps.sh
use_venv ''
arguments=("$@") others=() frozen=''
usual=runs/sweeps/objectives folder=runs/sweeps/objectives before=''
for word in "$@"; do
  if [[ $before == --folder ]]; then folder=$word; fi
  if [[ $word == --folder=* ]]; then folder=${word#*=}; fi
  before=$word
done
folder=${folder%/} untied=${folder%/}/untied
for recipe in "$recipes"/*.py; do
  if [[ $recipe == */untied_frozen.py ]]; then frozen=$recipe; else others+=("$recipe"); fi
done

sweep() { # RECIPES
  step python -m electra_jax.sweep --folder="$usual" --config "$@" \
    --set "total_steps=$steps" log.every_steps=10 checkpoint.every_steps="$steps" \
    --columns=eval/mlm_loss,eval/disc_auc "${arguments[@]}"
}

sweep "${others[@]}"
[[ -n $frozen ]] || exit 0
if [[ ! -d $untied/checkpoints ]]; then
  echo "note: $frozen is left out: it starts from $untied" >&2
  exit 0
fi
if [[ $folder != "$usual" ]]; then
  # The recipe starts from the run of the usual folder; this one has its name, and so its row.
  quoted() { local text=${1//\\/\\\\}; printf "'%s'" "${text//\'/\\\'}"; }
  {
    echo 'from electra_jax.config.recipe import recipe'
    echo
    echo
    echo 'def get_config():'
    echo "    return recipe({'init_from': $(quoted "$untied")}, base=$(quoted "$(realpath "$frozen")"))"
  } > "$folder/untied_frozen.py"
  frozen=$folder/untied_frozen.py
fi
sweep "${others[@]}" "$frozen"
