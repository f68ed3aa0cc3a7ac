"""Cases 16 and 17: tests that never stop printing. The log has its limit, the harness its memory."""

import sys
import threading

import psutil
import pytest
from faults.stage import Stage

LIMIT = 20 * 1024 * 1024
MEMORY = 100 * 1024 * 1024
FLOOD = """
import os, sys
piece = b"x" * 65535 + (b"\\n" if sys.argv[2] == "lines" else b"x")
for _ in range(int(sys.argv[1]) // len(piece)):
    os.write(1, piece)
os.write(1, b"\\nthe last words\\n")
raise SystemExit(int(sys.argv[3]))
"""


def flood(stage: Stage, size: int, kind: str, code: int) -> None:
    stage.write("flood.py", FLOOD)
    stage.groups(f"exec {sys.executable} -S flood.py {size} {kind} {code}", "true", run='log_limit = "20MB"')
    process = stage.start("test", "--parallel")
    watched = psutil.Process(process.pid)
    peak = 0
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.02):
            try:
                peak = max(peak, watched.memory_info().rss)
            except psutil.Error:
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        ran = stage.finish(process)
    finally:
        over.set()
        watcher.join()
    assert ran.statuses == {"g0": "failed" if code else "passed", "g1": "passed"}
    assert 0 < peak < MEMORY
    log = ran.files.group_log("g0")
    assert log.stat().st_size < LIMIT + 1024 * 1024
    assert log.stat().st_size > LIMIT // 2
    data = log.read_bytes()
    assert b"log_limit" in data or b"20 MB" in data, "a marker says what is missing"
    stage.judge()


@pytest.mark.parametrize("kind", ["lines", "one line"])
@pytest.mark.parametrize("code", [0, 1])
def test_cases_16_17_a_flood_is_cut_and_changes_nothing(stage: Stage, kind: str, code: int) -> None:
    flood(stage, 100 * 1024 * 1024, kind.replace(" ", "-"), code)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), [("lines", 5 << 30), ("one-line", 1 << 30)], ids=["5 GB", "1 GB, one line"])
def test_cases_16_17_in_full(stage: Stage, kind: str, size: int) -> None:
    flood(stage, size, kind, 0)
