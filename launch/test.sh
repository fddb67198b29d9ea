#!/usr/bin/env bash
# Runs the fast tests on a fresh clone: ./launch/test.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/venv.sh
use_venv test
exec python -m pytest "$@"
