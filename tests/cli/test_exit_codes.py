"""docs/exit-codes.md says what the code does."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import hostile
import pytest

from harness import bootstrap
from harness.cli.main import cli, main
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


def test_a_bug_of_the_harness_is_told_without_letting_its_words_act(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> int:
        raise RuntimeError("\x1b[2J\n::error::x ##[error]y")

    monkeypatch.setattr(cli, "main", broken)
    assert main() == ExitCode.INTERNAL
    said = capsys.readouterr().err
    assert "RuntimeError: \\x1b[2J\n" in said
    assert said.endswith("this is a bug of the harness; please report it with the lines above\n")
    assert hostile.objections(said) == []


def test_what_tools_say_while_the_environment_is_made_is_inert() -> None:
    assert bootstrap.visible("a\x1b[2J\nb\r\u202eé") == "a\\x1b[2J\nb\\r\\u202eé"


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
