"""A compact way to write down the history of a run, and to play it to reporters."""

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.events import (
    AnyEvent,
    AttemptFinished,
    AttemptSpawned,
    AttemptStarted,
    GroupFinished,
    PhaseStarted,
    RetryScheduled,
    RunFinished,
    RunStarted,
    ServiceFailed,
    ServiceReady,
    ServiceStarted,
    SignalReceived,
    Stamped,
    TestFinished,
    TestStarted,
    Warned,
)
from harness.files import RunFiles
from harness.model import Group, GroupResult, Outcome, Phase, Status, TestResult, TestStatus
from harness.record import RunRecord
from harness.reporters import Context, Detail, Reporter, Reporters
from harness.reporters.base import _offset

RUN_ID = "20250102_030405"
BEGAN = 1735787045.0  # 2025-01-02T03:04:05Z


@dataclass
class History:
    """Events in order, each at so many seconds since the run began, and what reporters make of them."""

    root: Path
    events: list[Stamped] = field(default_factory=list)
    record: RunRecord = field(default_factory=RunRecord)
    reporters: Reporters | None = None
    warnings: list[Warned] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.files = RunFiles(self.root / "logs", RUN_ID)
        self.files.run_dir.mkdir(parents=True)
        self.stream = io.StringIO()

    def context(self, **changes: object) -> Context:
        values: dict[str, object] = {
            "files": self.files,
            "record": self.record,
            "stream": self.stream,
            "colour": False,
            "detail": Detail.NORMAL,
            "here": self.root,
            "door": "./exec.sh local",
        }
        return Context(**{**values, **changes})  # type: ignore[arg-type]

    def play_to(self, *make: Callable[[Context], Reporter], **changes: object) -> "History":
        context = self.context(**changes)
        self.reporters = Reporters(self.record, [reporter(context) for reporter in make])
        return self

    @property
    def said(self) -> str:
        return self.stream.getvalue()

    def emit(self, event: AnyEvent, at: float | None = None) -> None:
        self.now = self.now if at is None else at
        self.events.append(Stamped(len(self.events) + 1, BEGAN + self.now, self.now, event))
        if self.reporters:
            self.warnings += self.reporters.handle(self.events[-1])
        else:
            self.record.apply(self.events[-1])

    def output(self, group: str, data: bytes) -> None:
        assert self.reporters
        self.warnings += self.reporters.output(group, data)

    def start(self, *phases: Phase, **changes: object) -> None:
        values: dict[str, object] = {
            "run_id": RUN_ID,
            "version": "1.0",
            "project": str(self.root),
            "environment": "local",
            "jobs": 4,
            "parallel": True,
            "fail_fast": 0,
            "log_dir": str(self.files.log_dir),
            "phases": phases,
        }
        self.emit(RunStarted(**{**values, **changes}))  # type: ignore[arg-type]

    def service(self, name: str, at: float, port: int, took: float) -> None:
        self.emit(ServiceStarted(service=name, pid=7, port=port, log=str(self.files.service_log(name))), at - took)
        self.emit(ServiceReady(service=name, seconds=took), at)

    def service_failed(self, name: str, at: float, reason: str) -> None:
        self.emit(ServiceFailed(service=name, reason=reason, log=str(self.files.service_log(name))), at)

    def phase(self, name: str, at: float) -> None:
        self.emit(PhaseStarted(phase=name), at)

    def attempt(self, group: str, at: float, number: int = 1, log: bytes = b"", part: str = "", slot: int = 0) -> None:
        path = self.files.group_log(group)
        with path.open("ab") as file:
            file.write(log)
        self.emit(AttemptStarted(group=group, part=part, attempt=number, slot=slot, log=str(path)), at)
        self.emit(AttemptSpawned(group=group, part=part, attempt=number, pid=4711 + slot, argv=("true",)))

    def test(
        self,
        group: str,
        at: float,
        test: str,
        status: str = "passed",
        message: str = "",
        details: str = "",
        part: str = "",
    ) -> None:
        self.emit(TestStarted(group=group, part=part, attempt=1, test=test), at)
        result = TestResult(id=test, status=TestStatus(status), duration=0.5, message=message, details=details)
        self.emit(TestFinished(group=group, part=part, attempt=1, result=result), at)

    def attempt_ends(
        self, group: str, at: float, status: str, took: float, reason: str = "", number: int = 1, part: str = ""
    ) -> None:
        outcome = Outcome(
            group=group,
            part=part,
            attempt=number,
            status=Status(status),
            started_at=BEGAN + at - took,
            duration=took,
            reason=reason,
        )
        self.emit(AttemptFinished(outcome=outcome), at)

    def retries(
        self, group: str, at: float, number: int, delay: float = 1.0, alone: bool = False, part: str = ""
    ) -> None:
        self.emit(RetryScheduled(group=group, part=part, attempt=number, delay=delay, alone=alone), at)

    def ends(
        self, group: str, at: float, status: str, took: float = 0.0, reason: str = "", attempts: int = 1, **more: object
    ) -> None:
        """The last attempt and the group end; with attempts=0 it never started. Those of parts have ended already."""
        if attempts and not any(self.record.groups[group].parts):
            self.attempt_ends(group, at, "passed" if status == "flaky" else status, took, reason, attempts)
        values: dict[str, object] = {
            "group": group,
            "status": Status(status),
            "reason": reason,
            "attempts": attempts,
            "started_at": BEGAN + at - took if attempts else None,
            "duration": took,
            "exit_code": {"passed": 0, "flaky": 0, "failed": 1}.get(status),
        }
        self.emit(GroupFinished(result=GroupResult(**{**values, **more})), at)  # type: ignore[arg-type]

    def signal(self, name: str, at: float, response: str) -> None:
        self.emit(SignalReceived(signal=name, response=response), at)

    def warn(self, message: str, at: float) -> None:
        self.emit(Warned(message=message), at)

    def finish(self, at: float, exit_code: int = 0, stopped_by: str = "") -> None:
        self.emit(RunFinished(exit_code=exit_code, duration=at, stopped_by=stopped_by), at)
        if self.reporters:
            self.warnings += self.reporters.close()


def phase(name: str, *groups: str | Group, **more: object) -> Phase:
    """A phase of groups that are commands, unless they are given whole."""
    made = [Group(name=group, phase=name, command="true") if isinstance(group, str) else group for group in groups]
    return Phase(name=name, groups=tuple(made), **more)  # type: ignore[arg-type]


def mixed_run(history: History) -> None:
    """A run with an ending of most kinds: two fine, one flaky, one timed out, one failed, two skipped."""
    history.start(
        phase("core", Group(name="core", phase="core", tests=("test_core.py",), category="smoke"), sequential=True),
        phase("parallel", "basic", Group(name="search", phase="parallel", command="x", retries=1), "slow", "financial"),
        phase("complex", "scenarios"),
        phase("stress", "mass", when="RUN_STRESS_TESTS"),
        off={"stress": "RUN_STRESS_TESTS is not true"},
        deselected=3,
    )
    history.service("postgres", 0.4, port=5555, took=0.4)
    history.phase("core", 0.5)
    history.attempt("core", 0.5)
    history.test("core", 1.0, "test_core.py::test_login")
    history.ends("core", 2.0, "passed", 1.5)
    history.phase("parallel", 2.0)
    for group in ("basic", "search", "slow"):
        history.attempt(group, 2.0)
    history.attempt("financial", 2.0, log=b"collecting\n\x1b[31mE   assert 409 == 200\x1b[0m\n")
    history.test("financial", 3.0, "test_pay.py::test_deposit")
    history.test(
        "financial", 4.0, "test_pay.py::test_refund", "failed", "assert 409 == 200", "test_pay.py:7: AssertionError\n"
    )
    history.attempt_ends("search", 4.0, "failed", 2.0, "exit code 1")
    history.retries("search", 4.0, 2)
    history.attempt("search", 5.0, 2)
    history.ends("basic", 5.5, "passed", 3.5, leaked=True)
    history.ends("search", 6.0, "flaky", 3.0, "passed on attempt 2 of 2", attempts=2)
    history.ends("financial", 6.5, "failed", 4.5, "exit code 1")
    history.ends("slow", 7.0, "timed_out", 5.0, "no end within 5 s")
    history.phase("complex", 7.0)
    history.ends("scenarios", 7.0, "skipped", reason="financial failed", attempts=0)
    history.ends("mass", 7.0, "skipped", reason="RUN_STRESS_TESTS is not true", attempts=0)
    history.finish(8.0, exit_code=1)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    made = History(tmp_path)
    yield made
    if made.reporters:
        made.reporters.close()


@pytest.fixture
def make_phase() -> Callable[..., Phase]:
    return phase


@pytest.fixture
def play_mixed_run() -> Callable[[History], None]:
    return mixed_run


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reporters show local times: here they are the same on every machine."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    _offset.cache_clear()
    yield
    monkeypatch.undo()
    time.tzset()
    _offset.cache_clear()
