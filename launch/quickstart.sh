#!/usr/bin/env bash
# From a fresh clone to a trained tiny ELECTRA in minutes, on a CPU, with no download beyond the
# Python packages: ./launch/quickstart.sh [--config.KEY=VALUE ...]
set -euo pipefail
# What messages tell to type again: this script, and the arguments that it adds.
export ELECTRA_SCRIPT="${0@Q}" ELECTRA_SCRIPT_ADDED=--config=configs/quickstart.py
cd "$(dirname "$0")/.."
source launch/venv.sh
use_venv ''
# This also makes the tokenizer and the corpus, since the recipe names their source.
exec python -m electra_jax.main --config=configs/quickstart.py "$@"
