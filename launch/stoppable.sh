#!/usr/bin/env bash
# Runs a command for a scheduler: launch/stoppable.sh COMMAND ARGUMENTS
# Passes SIGTERM and Ctrl-C on to the command. Where the command was asked to stop, saved, and ended
# with status 0, or 130 after Ctrl-C, this script ends with status 75 ("try again later"): a scheduler
# must not treat a stopped run as finished.
set -uo pipefail
if [[ $# -eq 0 || $1 == --help ]]; then
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
  exit 0
fi
stopping='' child='' interrupted=''
# A child of a script's shell ignores Ctrl-C, so it gets SIGTERM for either.
trap 'stopping=yes interrupted=yes; [[ -z $child ]] || kill -TERM "$child" 2> /dev/null' TERM INT
"$@" &
child=$!
[[ -z $stopping ]] || kill -TERM "$child" 2> /dev/null # the signal came before the child had a number
status=127
while true; do
  interrupted=''
  wait "$child"
  waited=$?
  # 127: an earlier wait has already returned the status, at the moment of a signal.
  [[ $waited == 127 ]] || status=$waited
  [[ -n $interrupted ]] || break
done
[[ -z $stopping || $status != 0 && $status != 130 ]] || status=75
exit "$status"
