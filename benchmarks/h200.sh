#!/usr/bin/env bash
# What one GPU reaches: benchmarks/h200.sh [FOLDER]     (FOLDER: benchmarks/h200)
#
# Measures base at length 512 and small at length 128 at several batch sizes, ours and PyTorch
# (transformers' model, torch.compile, bfloat16) in the same run, then time per token against
# length, and compile time against depth. A measurement that has a record is not made again, so
# the same command goes on after an interruption. Needs, in one environment, the extra 'gpu' and,
# beside it, a PyTorch with CUDA and transformers (the extra 'parity').
#   PYTHON=...  the interpreter; here .venv/bin/python where there is one, else python
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

base=32,64,128,256 small=128,256,512,1024
lengths=128,256,512 depths=3,6,12,24 length_rows=64
plan=(--turns=3 --steps=20 --warmup=10)
shrink=()
if [[ -n ${TINY:-} ]]; then
  base=2,4 small=2,4 lengths=16,32 depths=1,2 length_rows=2
  plan=(--turns=1 --steps=2 --warmup=1 --peer_variants=eager)
  shrink=(
    --config.model.num_layers=1 --config.model.hidden_size=32 --config.model.ffn_size=64
    --config.model.num_heads=2 --config.model.embedding_size=32
    --config.model.generator_width=1.0
  )
fi

bench() {
  "$python" -m electra_jax.bench --folder="$folder" "${plan[@]}" "$@" "${shrink[@]}"
}
row_length() {
  [[ -n ${TINY:-} ]] && echo 16 || echo "$1"
}

bench --config=configs/base.py --config.data.row_length="$(row_length 512)" \
  --versus=transformers --sweep=batch_size="$base"
bench --config=configs/small.py --config.data.row_length="$(row_length 128)" \
  --versus=transformers --sweep=batch_size="$small"
bench --config=configs/base.py --config.batch_size="$length_rows" --sweep=row_length="$lengths"
bench --config=configs/small.py --config.batch_size="$length_rows" --sweep=num_layers="$depths"
echo "tables and plots: $folder/*.md, $folder/*.png"
