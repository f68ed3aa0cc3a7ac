"""Cases 1 to 20 once more, and again, while every core is busy."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from torture.trials import Result

ROOT = Path(__file__).parent.parent.parent
CASES = " or ".join(f"case_{number:02}" for number in range(1, 21)) + " or cases_"
SPIN = "while True: pass"


@contextmanager
def every_core_busy() -> Iterator[None]:
    spinning = [subprocess.Popen([sys.executable, "-S", "-c", SPIN]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def load(repeats: int) -> Iterator[Result]:
    result = Result(f"cases 1 to 20 with every core busy, {repeats} times over")
    began = time.monotonic()
    with every_core_busy():
        for _ in range(repeats):
            with tempfile.NamedTemporaryFile(suffix=".xml") as report:
                words = ["-q", "-k", CASES, "-m", "not slow", "--junitxml", report.name, "tests/faults"]
                subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT)
                for case in ElementTree.parse(report.name).iter("testcase"):
                    if case.find("skipped") is not None:
                        continue
                    result.times += 1
                    if case.find("failure") is not None or case.find("error") is not None:
                        result.failed += 1
                        result.faults.append(f"{case.get('classname')}::{case.get('name')}")
    result.seconds = time.monotonic() - began
    yield result
