#!/usr/bin/env bash
# Runs a command for a scheduler: launch/stoppable.sh COMMAND ARGUMENTS
# Passes SIGTERM and Ctrl-C on to the command. Where the command was asked to stop, saved, and ended
# with status 0, this script ends with status 75 ("try again later"): a scheduler must not take a run
# that was stopped for finished.
set -uo pipefail
if [[ $# -eq 0 || $1 == --help ]]; then
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
  exit 0
fi
told='' child='' interrupted=''
# A child of a script's shell ignores Ctrl-C, so it gets SIGTERM for either.
trap 'told=yes interrupted=yes; [[ -z $child ]] || kill -TERM "$child" 2> /dev/null' TERM INT
"$@" &
child=$!
[[ -z $told ]] || kill -TERM "$child" 2> /dev/null # it came before the child had a number
status=127
while true; do
  interrupted=''
  wait "$child"
  found=$?
  # 127: the wait before has already returned the status, just when a signal came.
  [[ $found == 127 ]] || status=$found
  [[ -n $interrupted ]] || break
done
[[ -z $told || $status != 0 ]] || status=75
exit "$status"
