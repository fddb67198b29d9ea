#!/usr/bin/env bash
# Trains on all NVIDIA GPUs of this machine: launch/gpu.sh [--dry-run] ARGUMENTS OF electra_jax.main
#
#   launch/gpu.sh --config=configs/small.py --workdir=runs/small
#   CUDA_VISIBLE_DEVICES=0,1 launch/gpu.sh --config=configs/small.py
#
# Makes .venv with JAX for CUDA 12, then trains. It sets these variables unless they are set already:
#   XLA_PYTHON_CLIENT_MEM_FRACTION  share of GPU memory that JAX reserves at the start: 0.92, since
#                                   JAX's default 0.75 leaves room for other programs
#                                   (docs.jax.dev/en/latest/gpu_memory_allocation.html)
#   XLA_FLAGS                       the latency-hiding scheduler: with several GPUs, gradients are
#                                   sent while others are still computed
#                                   (docs.jax.dev/en/latest/gpu_performance_tips.html)
set -euo pipefail
if [[ $# -eq 0 || $1 == --help ]]; then
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
  exit 0
fi
dry='' arguments=()
for word in "$@"; do
  if [[ $word == --dry-run ]]; then dry=yes; else arguments+=("$word"); fi
done

go() {
  if [[ -n $dry ]]; then echo "${*@Q}"; else "$@"; fi
}

if ! gpus=$(nvidia-smi --list-gpus 2> /dev/null) && [[ -n $dry ]]; then
  echo '# nvidia-smi finds no NVIDIA GPU here; this is what one would need'
  gpus='GPU 0'
elif [[ -z $gpus ]]; then
  echo 'error: nvidia-smi finds no NVIDIA GPU here; without one, type ./launch/quickstart.sh' >&2
  exit 1
fi
count=$(grep -c '^GPU ' <<< "$gpus")
[[ -z ${CUDA_VISIBLE_DEVICES:-} ]] || count=$(tr ',' '\n' <<< "$CUDA_VISIBLE_DEVICES" | grep -c .)
[[ -z $dry ]] || echo "# GPUs: $count"
go cd "$(cd "$(dirname "$0")/.." && pwd)"
go source launch/venv.sh
go use_venv gpu
go export XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}"
if ((count > 1)) || [[ -n ${XLA_FLAGS:-} ]]; then
  go export XLA_FLAGS="${XLA_FLAGS:---xla_gpu_enable_latency_hiding_scheduler=true}"
fi
go export ELECTRA_SCRIPT="${0@Q}" # what messages tell to type again
go exec python -m electra_jax.main "${arguments[@]}"
