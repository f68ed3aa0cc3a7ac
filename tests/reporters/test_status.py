import shutil
import subprocess
from typing import Any

import pytest

from harness.reporters.status import StatusFiles

BASH = shutil.which("bash")


def test_a_status_file_from_running_to_the_end(history: Any, make_phase: Any) -> None:
    history.play_to(StatusFiles)
    history.start(make_phase("p", "a"))
    path = history.files.status("a")
    assert not path.exists()
    history.attempt("a", 1.0)
    assert path.read_text() == (
        "GROUP=a\nSTATUS=running\nEXIT_CODE=''\nDURATION=''\nATTEMPTS=1\nSTARTED_AT=2025-01-02T03:04:06.000+00:00\n"
        f"FINISHED_AT=''\nLOG={history.files.group_log('a')}\nREASON=''\nPID=4711\n"
    )
    history.ends("a", 3.5, "failed", 2.5, "exit code 1")
    assert path.read_text() == (
        "GROUP=a\nSTATUS=failed\nEXIT_CODE=1\nDURATION=2.500\nATTEMPTS=1\nSTARTED_AT=2025-01-02T03:04:06.000+00:00\n"
        f"FINISHED_AT=2025-01-02T03:04:08.500+00:00\nLOG={history.files.group_log('a')}\nREASON='exit code 1'\n"
    )
    assert path.stat().st_mode & 0o777 == 0o600
    assert not list(path.parent.glob("*.tmp"))


def test_between_two_attempts_there_is_no_process(history: Any, make_phase: Any) -> None:
    history.play_to(StatusFiles)
    history.start(make_phase("p", "a"))
    history.attempt("a", 1.0)
    history.attempt_ends("a", 2.0, "failed", 1.0)
    history.retries("a", 2.0, 2)
    text = history.files.status("a").read_text()
    assert "STATUS=running\n" in text
    assert "ATTEMPTS=1\n" in text
    assert "PID" not in text


def test_a_group_that_never_ran_has_one_too(history: Any, make_phase: Any) -> None:
    history.play_to(StatusFiles)
    history.start(make_phase("p", "a"))
    history.ends("a", 1.0, "skipped", reason="b failed", attempts=0)
    assert history.files.status("a").read_text() == (
        "GROUP=a\nSTATUS=skipped\nEXIT_CODE=''\nDURATION=0.000\nATTEMPTS=0\nSTARTED_AT=''\n"
        "FINISHED_AT=2025-01-02T03:04:06.000+00:00\nLOG=''\nREASON='b failed'\n"
    )


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize(
    ("nasty", "seen"),
    [
        ("$(touch pwned)", "$(touch pwned)"),
        ("`touch pwned`; touch pwned & touch pwned", "`touch pwned`; touch pwned & touch pwned"),
        ('it\'s "quoted" \\ and $HOME', 'it\'s "quoted" \\ and $HOME'),
        ("two\nSTATUS=passed\r\ttouch pwned", "two\\nSTATUS=passed\\r\\ttouch pwned"),
        ("'; touch pwned; '", "'; touch pwned; '"),
        ("-n ~ * ünïcode", "-n ~ * ünïcode"),
    ],
)
def test_bash_can_source_it_whatever_stands_in_it(history: Any, make_phase: Any, nasty: str, seen: str) -> None:
    history.play_to(StatusFiles)
    history.start(make_phase("p", nasty))
    history.ends(nasty, 1.0, "failed", 1.0, nasty)
    path = history.files.status(nasty)
    assert len(path.read_text().splitlines()) == 9
    script = 'set -eu; cd "$1"; source "$2"; printf "%s|" "$GROUP" "$REASON" "$STATUS" "$EXIT_CODE"; ls'
    assert BASH is not None
    empty = history.root / "empty"
    empty.mkdir()
    shown = subprocess.run(
        [BASH, "--norc", "-c", script, "bash", str(empty), str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        encoding="utf-8",
    )
    assert (shown.stdout, shown.stderr) == (f"{seen}|{seen}|failed|1|", "")


def test_between_two_attempts_it_still_says_running(history: Any, make_phase: Any) -> None:
    history.play_to(StatusFiles)
    history.start(make_phase("p", "a"))
    history.attempt("a", 1.0)
    history.attempt_ends("a", 2.0, "failed", 1.0)
    history.retries("a", 2.0, 2)
    assert "STATUS=running\n" in history.files.status("a").read_text()
