import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness.events import Stamped
from harness.reporters import REPORTERS, Detail, Reporters, standard
from harness.reporters.base import Quiet


class Probe(Quiet):
    name: ClassVar[str] = "probe"
    durable: ClassVar[bool] = False

    def __init__(self, log: list[str], error: Exception | None = None) -> None:
        self.log = log
        self.error = error

    def handle(self, stamped: Stamped) -> None:
        self.log.append(type(stamped.data).__name__)
        if self.error:
            raise self.error

    def close(self) -> None:
        self.log.append("closed")


class Durable(Probe):
    name: ClassVar[str] = "durable probe"
    durable: ClassVar[bool] = True


def test_a_reporter_for_the_eyes_that_fails_is_closed_and_hears_no_more(history: Any, make_phase: Any) -> None:
    broken, sound = Probe([], BrokenPipeError(32, "Broken pipe")), Probe([])
    history.play_to(lambda _: broken, lambda _: sound)
    history.start(make_phase("p", "a"))
    history.phase("p", 0.0)
    history.finish(1.0)
    assert broken.log == ["RunStarted", "closed"]
    assert sound.log == ["RunStarted", "PhaseStarted", "RunFinished", "closed"]
    assert [warning.message for warning in history.warnings] == ["probe failed: [Errno 32] Broken pipe"]
    assert history.reporters.failures == []


def test_a_durable_one_goes_on_trying_and_is_remembered_once(history: Any, make_phase: Any) -> None:
    broken = Durable([], OSError(28, "No space left on device"))
    history.play_to(lambda _: broken)
    history.start(make_phase("p", "a"))
    history.finish(1.0)
    assert broken.log == ["RunStarted", "RunFinished", "closed"]
    assert history.reporters.failures == ["durable probe failed: [Errno 28] No space left on device"]
    assert len(history.warnings) == 1


def test_the_record_is_up_to_date_before_a_reporter_hears_of_an_event(history: Any, make_phase: Any) -> None:
    seen = []

    class Reader(Probe):
        def handle(self, _: Stamped) -> None:
            seen.append(len(history.record.groups))

    history.play_to(lambda _: Reader([]))
    history.start(make_phase("p", "a", "b"))
    assert seen == [2]


@pytest.mark.parametrize(
    ("live", "github", "detail", "names"),
    [
        (False, False, Detail.NORMAL, ["console"]),
        (True, False, Detail.NORMAL, ["live display"]),
        (True, False, Detail.VERBOSE, ["console"]),
        (False, True, Detail.COMPACT, ["console", "GitHub"]),
    ],
)
def test_the_reporters_of_a_run(history: Any, live: bool, github: bool, detail: Detail, names: list[str]) -> None:
    made = standard(history.context(detail=detail), live=live, github=github)
    files = ["journal", "status files", "JSON report", "JUnit report", "trace", "main log"]
    assert [reporter.name for reporter in made] == [*files, *names]
    assert [reporter.durable for reporter in made] == [True] * 6 + [False] * len(names)
    assert Reporters(history.record, made).close() == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("name", "file"), [("journal", "events"), ("mainlog", "main_log")])
def test_a_full_disk_is_a_durable_failure(history: Any, make_phase: Any, name: str, file: str) -> None:
    getattr(history.files, file).symlink_to("/dev/full")
    history.play_to(REPORTERS[name])
    history.start(make_phase("p", "a"))
    history.finish(1.0)
    [failure] = history.reporters.failures
    assert failure.endswith("failed: [Errno 28] No space left on device")


def test_the_heavy_parts_are_not_loaded_before_they_are_used() -> None:
    code = "import sys, harness.reporters; print([m for m in ('rich', 'tabulate', 'junitparser') if m in sys.modules])"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert shown.stdout == "[]\n"
