"""docs/exit-codes.md says what the code does."""

import re
import signal
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
from harness.run import STOPPING_SIGNALS

PAGE = Path(__file__).resolve().parents[2] / "docs/exit-codes.md"


def documented() -> dict[str, int]:
    return {name: int(code) for code, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)}


def test_page_has_every_code_and_no_other() -> None:
    signals = {signal.Signals(number).name: 128 + number for number in STOPPING_SIGNALS}
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
