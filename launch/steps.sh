# shellcheck shell=bash
# Sourced by scripts that run a command, or several one after another: `step COMMAND ARGUMENTS` returns
# its status. SIGTERM, a lost terminal and Ctrl-C, the first and the second, reach the command that runs
# as SIGTERM, once each; when it has ended the script ends too. Its status is 75 then ("try again
# later"): a command that was asked to stop has saved (0; 3, of a sweep; 130, of Ctrl-C), or the signal
# has killed it where it keeps what is finished without a save, as while it loads or builds a corpus
# (143). The same script continues after each. Any other status is an error, and stays.

is_stopped='' is_interrupted='' running=''
trap 'is_stopped=yes is_interrupted=yes; [[ -z $running ]] || kill -TERM "$running" 2> /dev/null || true' \
  TERM INT HUP

step() {
  local status=127 waited
  [[ -z $is_stopped ]] || exit 75
  # In a process group of its own: a terminal sends Ctrl-C to the whole group, so that the command would
  # get each one twice, and the second one ends it at once.
  set -m
  "$@" &
  set +m
  running=$!
  [[ -z $is_stopped ]] || kill -TERM "$running" 2> /dev/null || true # before it had a number
  while true; do
    is_interrupted=''
    wait "$running" && waited=0 || waited=$?
    # 127: an earlier wait has already returned the status, at the moment of a signal.
    [[ $waited == 127 ]] || status=$waited
    [[ -n $is_interrupted ]] || break
  done
  running=''
  [[ -n $is_stopped ]] || return "$status"
  case $status in 0 | 3 | 130 | 143) status=75 ;; esac
  exit "$status"
}
