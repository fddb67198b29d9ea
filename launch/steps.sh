# shellcheck shell=bash
# Sourced by scripts that run one command after another: `step COMMAND ARGUMENTS` returns its status.
# SIGTERM, a lost terminal and Ctrl-C, the first and the second, reach the command that runs, once
# each; when it has ended the script ends too: with 75 ("try again later", as of stoppable.sh) where
# its status says that it has saved (0; 3, of a sweep; 130, of Ctrl-C), and else with that status.

is_stopped='' is_interrupted='' running=''
trap 'is_stopped=yes is_interrupted=yes; [[ -z $running ]] || kill -TERM "$running" 2> /dev/null || true' \
  TERM INT HUP

step() {
  local status=127 waited
  [[ -z $is_stopped ]] || exit 143
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
  case $status in 0 | 3 | 130) status=75 ;; esac
  exit "$status"
}
