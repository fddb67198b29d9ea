#!/usr/bin/env bash
# Runs a command for a scheduler: launch/stoppable.sh COMMAND ARGUMENTS
# Passes SIGTERM, a lost terminal and Ctrl-C on to the command, as SIGTERM. Where the command was asked
# to stop, and has done so, this script ends with status 75 ("try again later"): a scheduler must not
# treat a stopped run as finished, nor as failed. launch/steps.sh has the statuses.
set -uo pipefail
if [[ $# -eq 0 || $1 == --help ]]; then
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
  exit 0
fi
# shellcheck source=launch/steps.sh
source "$(dirname "$0")/steps.sh"
step "$@"
