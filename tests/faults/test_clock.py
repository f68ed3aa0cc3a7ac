"""Case 26: the wall clock is set while tests run; durations are measured by a clock that nobody can set."""

import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest
from faults.stage import Stage

COMPILER = shutil.which("cc") or shutil.which("gcc")
# Stands before the C library, in every process of the run: once the file is there, it is another day.
JUMPS = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <stdlib.h>
    #include <sys/time.h>
    #include <time.h>
    #include <unistd.h>

    static long ahead(void) {
        return access(getenv("JUMP_FILE"), F_OK) == 0 ? atol(getenv("JUMP_SECONDS")) : 0;
    }
    int clock_gettime(clockid_t clock, struct timespec *now) {
        int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
        int result = real(clock, now);
        if (clock == CLOCK_REALTIME) now->tv_sec += ahead();
        return result;
    }
    int gettimeofday(struct timeval *now, void *zone) {
        int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
        int result = real(now, zone);
        now->tv_sec += ahead();
        return result;
    }
    time_t time(time_t *out) {
        time_t (*real)(time_t *) = dlsym(RTLD_NEXT, "time");
        time_t now = real(NULL) + ahead();
        if (out) *out = now;
        return now;
    }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("clock")
    (directory / "jumps.c").write_text(textwrap.dedent(JUMPS))
    command = [str(COMPILER), "-shared", "-fPIC", "-o", "jumps.so", "jumps.c", "-ldl"]
    subprocess.run(command, cwd=directory, check=True)
    return directory / "jumps.so"


@pytest.mark.skipif(not COMPILER, reason="setting the clock of a run alone needs a C compiler")
@pytest.mark.parametrize("seconds", [86_400, -86_400], ids=["a day ahead", "a day back"])
def test_case_26_a_clock_that_is_set_changes_no_duration(stage: Stage, library: Path, seconds: int) -> None:
    stage.write("test_it.py", "import time\ndef test_it():\n    open('jumped', 'w').close()\n    time.sleep(0.3)\n")
    stage.plan(
        """
        [run]
        timeout = "1h"
        [[phases]]
        name = "p"
        [[phases.groups]]
        name = "command"
        command = "sleep 0.2; until [ -e jumped ]; do sleep 0.02; done; date +%s"
        [[phases.groups]]
        name = "pytest"
        tests = "test_it.py"
        """
    )
    jump = stage.directory / "jumped"
    env = {"LD_PRELOAD": str(library), "JUMP_FILE": str(jump), "JUMP_SECONDS": str(seconds)}
    ran = stage.run("test", "--parallel", env=env)
    assert ran.statuses == {"command": "passed", "pytest": "passed"}, ran.stdout
    told = int(ran.log("command").split()[-1])
    assert abs(told - int(ran.report["suites"][0]["start_time"])) > 80_000, "the clock was set"
    durations = [ran.report["duration"]] + [suite["duration"] for suite in ran.report["suites"]]
    durations += [test["duration"] for suite in ran.report["suites"] for test in suite["test_results"]]
    assert all(0.0 < duration < 3600.0 for duration in durations), durations
    assert all(0.0 <= float(ran.status_file(name)["DURATION"]) < 3600.0 for name in ran.statuses)
    elapsed = [stamped.elapsed for stamped in ran.events]
    assert elapsed == sorted(elapsed)
    stage.judge()
