#!/usr/bin/env bash
# The door to the harness:   ./exec.sh ENVIRONMENT COMMAND [OPTIONS]        (./exec.sh --help tells the rest)
#
# Finds the harness and the project, has the Python environment made where it is missing or stale
# (harness/bootstrap.py), and becomes the Python core. Nothing else is decided here. Bash 3.2 is enough.
# Variables are called door_…: a shorter name might be one that the caller exports, and would reach the tests changed.
set -e

# The project is looked for from where the script was called as, and the harness lives where the script really is: so
# a repository can link to a harness that it keeps elsewhere. run_parallel_tests.sh sources this file: $0 is that one.
door_called=$0
door_script=${BASH_SOURCE[0]}
case $door_called in */*) ;; *) door_called=./$door_called ;; esac
case $door_script in */*) ;; *) door_script=./$door_script ;; esac
while [ -L "$door_script" ]; do
    door_target=$(readlink "$door_script")
    case $door_target in /*) door_script=$door_target ;; *) door_script=${door_script%/*}/$door_target ;; esac
done
door_home=$(CDPATH='' cd -- "${door_script%/*}/" && pwd -P)
door_start=$(CDPATH='' cd -- "${door_called%/*}/" && pwd -P)

# Sets door_project to the nearest directory from $1 upward that holds a harness.toml.
find_project() {
    door_project=$1
    until [ -f "$door_project/harness.toml" ]; do
        [ -n "$door_project" ] || return 1
        door_project=${door_project%/*}
    done
    door_project=${door_project:-/}
}
find_project "$door_start" || find_project "$door_home" || door_project=$door_start

case ${1-} in
'' | -*) set -- --project "$door_project" ${1+"$@"} ;;
*)
    door_environment=$1
    shift
    set -- --project "$door_project" --environment "$door_environment" ${1+"$@"}
    ;;
esac

# The stamp is the home (a virtual environment cannot be moved) and the whole lock file, so that nothing has to be
# started to compare it. -I: PYTHONPATH and the current directory are for the tests, not for the harness itself.
door_newline='
'
door_python=$door_home/.venv/bin/python
if [ -x "$door_python" ] && [ -f "$door_home/.venv/harness.stamp" ] &&
    [ "$(<"$door_home/.venv/harness.stamp")" = "$door_home$door_newline$(<"$door_home/requirements.lock")" ]; then
    exec "$door_python" -I -m harness "$@"
fi

# Sets door_base to the first of its arguments that is a Python new enough, door_old to the last that is not.
find_python() {
    for door_base; do
        door_version=$("$door_base" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3]); sys.exit(sys.version_info < (3, 11))' 2>/dev/null) && return
        [ -z "$door_version" ] || door_old="$door_base is $door_version"
    done
    return 1
}
door_old=''
if [ -n "${HARNESS_PYTHON-}" ]; then
    find_python "$HARNESS_PYTHON" || door_base='' door_old=${door_old:-HARNESS_PYTHON=$HARNESS_PYTHON does not run}
else
    find_python python3 python3.14 python3.13 python3.12 python3.11 ||
        find_python "$(uv python find --system --no-project '>=3.11' 2>/dev/null)" || door_base=''
fi
if [ -z "$door_base" ]; then
    echo "error: Python 3.11 or newer is needed (${door_old:-none was found}): install one (apt install python3," \
        "brew install python, uv python install 3.13) or name it in HARNESS_PYTHON" >&2
    exit 3
fi
exec "$door_base" -I "$door_home/harness/bootstrap.py" "$door_home" "$@"
