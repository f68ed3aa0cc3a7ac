#!/usr/bin/env bash
# The whole suite, groups side by side:   ./run_parallel_tests.sh [OPTIONS] = ./exec.sh local test --parallel [OPTIONS]
#
# Only finds exec.sh, beside the real place of this script, and sources it: it then looks for the project from where
# this script was called as. Bash 3.2 is enough.
set -e

door_script=$0
case $door_script in */*) ;; *) door_script=./$door_script ;; esac
while [ -L "$door_script" ]; do
    door_target=$(readlink "$door_script")
    case $door_target in /*) door_script=$door_target ;; *) door_script=${door_script%/*}/$door_target ;; esac
done

set -- local test --parallel ${1+"$@"}
# shellcheck source=exec.sh
. "${door_script%/*}/exec.sh"
