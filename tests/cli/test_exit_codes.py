"""docs/exit-codes.md says what the code does."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import bootstrap
from harness.errors import (
    ExitCode,
    HarnessError,
    InfrastructureError,
    InternalError,
    NothingToRun,
    PlanError,
    UsageError,
)
from harness.signals import STOPPING

PAGE = Path(__file__).resolve().parents[2] / "docs/exit-codes.md"


def documented() -> dict[str, int]:
    return {name: int(code) for code, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)}


def test_page_has_every_code_and_no_other() -> None:
    signals = {signal.Signals(number).name: 128 + number for number in STOPPING}
    assert documented() == {code.name: code.value for code in ExitCode} | signals


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (UsageError("x"), "USAGE"),
        (PlanError(["x"]), "USAGE"),
        (InfrastructureError("x"), "INFRASTRUCTURE"),
        (NothingToRun("x"), "NOTHING_TO_RUN"),
        (InternalError("x"), "INTERNAL"),
    ],
)
def test_errors_have_the_codes_of_the_page(error: HarnessError, name: str) -> None:
    assert error.exit_code == documented()[name]


def test_set_up_fails_as_infrastructure() -> None:
    assert documented()["INFRASTRUCTURE"] == bootstrap.INFRASTRUCTURE


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "| head -0"])
def test_a_console_that_cannot_be_written_changes_no_exit_code(tmp_path: Path, redirection: str) -> None:
    if "full" in redirection and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    (tmp_path / "harness.toml").write_text('[[phases]]\nname = "p"\n[[phases.groups]]\nname = "a"\ncommand = "false"\n')
    script = f"set -o pipefail; '{sys.executable}' -I -m harness test {redirection}"
    ended = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr
