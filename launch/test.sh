#!/usr/bin/env bash
# Runs the fast tests on a fresh clone: ./launch/test.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/venv.sh
use_venv test
# The tests of one file stay in one process, so that what they share is made once.
exec python -m pytest -n auto --dist loadfile "$@"
