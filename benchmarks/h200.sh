#!/usr/bin/env bash
# What one GPU reaches: benchmarks/h200.sh [FOLDER]     (FOLDER: benchmarks/h200)
#
# Measures base at length 512 and small at length 128 at several batch sizes, in turns with PyTorch
# (transformers' model, torch.compile, bfloat16), then time per token against length, and compile
# time against depth. Each measurement has a folder of its own; one that has a record of this git
# revision already is not repeated, so the same command continues after an interruption. Where one
# fails, the others go on; the last line and the exit status name what failed. It needs one
# environment with the extra 'gpu', a PyTorch with CUDA, and transformers (the extra 'parity').
#   PYTHON=...  the interpreter; default .venv/bin/python where there is one, else python
#   TINY=1      the same commands at a size that a CPU does in minutes, to try them
set -euo pipefail
if [[ ${1:-} == --help || ${1:-} == -h ]]; then
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
  exit 0
fi
folder=$(realpath -m "${1:-$(dirname "$0")/h200}")
cd "$(dirname "$0")/.."
default=python
[[ ! -x .venv/bin/python ]] || default=.venv/bin/python
python=${PYTHON:-$default}

base_rows=(32 64 128 256) base_length=512
small_rows=(128 256 512 1024) small_length=128
lengths=(128 256 512) depths=(3 6 12 24) rows=64
plan=(--turns=3 --steps=20 --warmup=10)
peer=(--versus=transformers)
shrink=()
if [[ -n ${TINY:-} ]]; then
  base_rows=(2 4) base_length=16 small_rows=(2 4) small_length=16
  lengths=(16 32) depths=(1 2) rows=2
  plan=(--turns=1 --steps=2 --warmup=1)
  peer+=(--peer_variants=eager)
  shrink=(
    --config.model.num_layers=1 --config.model.hidden_size=32 --config.model.ffn_size=64
    --config.model.num_heads=2 --config.model.embedding_size=32
    --config.model.generator_width=1.0
  )
fi

revision=null # as records have it where there is no git
if commit=$(git rev-parse HEAD 2>/dev/null); then
  revision="\"$commit" # '+changes' may follow: the first record is one
fi
failed=()
bench() { # NAME RECIPE [WORDS]
  if grep -qsF "\"revision\": $revision" "$folder/$1"/*.json; then
    echo "measured before: $folder/$1" >&2
    return
  fi
  "$python" -m electra_jax.bench --folder="$folder/$1" --config="configs/$2.py" "${plan[@]}" \
    "${shrink[@]}" "${@:3}" || failed+=("$1")
}

for n in "${base_rows[@]}"; do
  bench "base-${base_length}x$n" base "${peer[@]}" --config.batch_size="$n" \
    --config.data.row_length="$base_length"
done
for n in "${small_rows[@]}"; do
  bench "small-${small_length}x$n" small "${peer[@]}" --config.batch_size="$n" \
    --config.data.row_length="$small_length"
done
for n in "${lengths[@]}"; do
  bench "base-length-$n" base --config.batch_size="$rows" --config.data.row_length="$n"
done
for n in "${depths[@]}"; do
  bench "small-layers-$n" small --config.batch_size="$rows" --config.model.num_layers="$n"
done
echo "records: $folder/*/*.json"
if ((${#failed[@]})); then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
