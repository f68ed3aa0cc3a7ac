"""Output that comes faster than it is read, and more of it than anybody keeps."""

import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from projects import Harness, eventually

FLOOD = """
    import os, pathlib, sys, time
    for _ in range(20_000):
        sys.stdout.write(f"{7:0999}\\n")
    sys.stdout.flush()
    pathlib.Path("flooded").touch()
    while len(sys.argv) > 1 and not os.path.exists(sys.argv[1]):
        print("still here", flush=True)
        time.sleep(0.02)
"""
LEFT_OUT = "not shown here, but in the log: too much at once"


def flood(harness: Harness, *words: str) -> None:
    harness.write("flood.py", FLOOD)
    harness.plan(f"""
        [[phases]]
        name = "p"
        [[phases.groups]]
        name = "g"
        command = "python3 flood.py {" ".join(words)}"
    """)


def test_nobody_waits_and_what_is_left_out_is_told_at_the_end(harness: Harness) -> None:
    flood(harness)
    process = harness.start("test", "--verbose")
    eventually((harness.directory / "flooded").exists, "the end of a flood that nobody reads")
    ran = harness.finish(process)
    assert ran.code == 0
    assert ran.stdout.count(LEFT_OUT) == 1
    assert len(ran.files.group_log("g").read_bytes()) > 20_000_000


def test_once_it_is_read_what_comes_is_shown_again(harness: Harness) -> None:
    flood(harness, "seen")
    process = harness.start("test", "--verbose")
    eventually((harness.directory / "flooded").exists, "the end of a flood that nobody reads")
    assert process.stdout
    lines = iter(process.stdout.readline, "")
    assert any(LEFT_OUT in line for line in lines)
    assert any("still here" in line for line in lines)
    (harness.directory / "seen").touch()
    assert list(lines)[-1] == "✓ 1 group passed\n"
    assert harness.finish(process).code == 0


ENDLESS = """
    import os, sys
    piece = {"lines": b"%099d\\n" % 7 * 640, "one line": b"x" * 65536}[sys.argv[1]]
    left = int(sys.argv[2])
    while left > 0:
        left -= os.write(1, piece)
    print("the end")
    sys.exit(3)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells the peak of another process's memory")
@pytest.mark.parametrize("options", [(), ("--verbose",)], ids=["quiet", "verbose"])
@pytest.mark.parametrize(("what", "size"), [("lines", 5_000_000_000), ("one line", 1_000_000_000)])
def test_gigabytes_take_neither_memory_nor_disk(
    harness: Harness, what: str, size: int, options: tuple[str, ...]
) -> None:
    harness.write("endless.py", ENDLESS)
    harness.plan(f"""
        [run]
        log_limit = "20MB"
        [[phases]]
        name = "p"
        [[phases.groups]]
        name = "g"
        command = ["python3", "endless.py", "{what}", "{size}"]
    """)
    process = harness.start("test", *options)
    peaks: list[int] = []
    watch = threading.Thread(target=watch_memory, args=(process, peaks))
    watch.start()
    ran = harness.finish(process)
    watch.join()
    assert ran.statuses == {"g": "failed"}
    assert ran.status_file("g")["EXIT_CODE"] == "3"
    log = ran.files.group_log("g").read_bytes()
    assert len(log) <= 20_000_000
    assert b"left out here: log_limit is 20 MB\n" in log
    assert log.endswith(b"the end\n")
    assert ran.files.main_log.stat().st_size < 25_000_000
    assert max(peaks) < 100_000_000


def watch_memory(process: "subprocess.Popen[str]", peaks: list[int]) -> None:
    while process.poll() is None:
        with suppress(OSError):  # it has been reaped meanwhile
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peaks += [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
        time.sleep(0.01)
