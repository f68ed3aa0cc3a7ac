"""Events: what is free text is masked, what names things is not."""

import pytest

from harness.events import (
    AnyEvent,
    AttemptFinished,
    AttemptSpawned,
    AttemptStarted,
    GroupFinished,
    LeaseEnded,
    LeaseMade,
    PhaseStarted,
    RetryScheduled,
    RunFinished,
    RunStarted,
    ServiceFailed,
    ServiceReady,
    ServiceStarted,
    ServiceStopped,
    SignalReceived,
    Stamped,
    TestFinished,
    TestStarted,
    Warned,
    encode,
)
from harness.masking import Secrets
from harness.masking.events import masked
from harness.model import Group, GroupResult, Outcome, Phase, Status, TestResult, TestStatus

S = "s3cr3t-canary"
GROUP = Group(name="g", phase="p", command=("run", S), env={"A": S}, description="d")
RESULT = TestResult(id=f"t.py::t[{S}]", status=TestStatus.FAILED, duration=1, message=f"m {S}", details=f"d {S}")
OUTCOME = Outcome(
    group="g",
    attempt=1,
    status=Status.FAILED,
    started_at=0,
    duration=1,
    reason=f"r {S}",
    contaminates=(f"c {S}",),
    failed_tests=(f"t.py::t[{S}]",),
)
RUN = RunStarted(
    run_id="r", version="1", project="/p", environment="e", jobs=1, parallel=True, fail_fast=0, log_dir="/l",
    phases=(Phase(name="p", groups=(GROUP, Group(name="h", phase="p", command=f"echo {S}"))),),
    filters=f"-k {S}", off={"p": f"because {S}"},
)  # fmt: skip
TELLING = [
    RUN,
    AttemptSpawned(group="g", attempt=1, pid=1, argv=("a", f"--key={S}")),
    AttemptFinished(outcome=OUTCOME),
    TestStarted(group="g", attempt=1, test=f"t.py::t[{S}]"),
    TestStarted(group="g", attempt=1, test=f"a tap test with {S}"),
    TestStarted(group="g", attempt=1, test=f"package::TestGo/{S}"),
    TestFinished(group="g", attempt=1, result=RESULT),
    GroupFinished(result=GroupResult(group="g", status=Status.FAILED, reason=f"r {S}", contaminates=(f"c {S}",))),
    ServiceFailed(service="s", reason=f"r {S}", log="/l"),
    LeaseMade(token="t", entry="e", kind="k", group="g", attempt=1, details={"url": f"x {S}"}, seconds=1),
    LeaseEnded(token="t", entry="e", group="g", ending="leaked", reason=f"r {S}"),
    Warned(message=f"w {S}"),
]
SILENT = [
    AttemptStarted(group=S, attempt=1, slot=0, log=f"/logs/{S}.log", part=S),
    AttemptSpawned(group=S, attempt=1, pid=1, argv=("true",)),
    AttemptFinished(outcome=Outcome(group=S, attempt=1, status=Status.PASSED, started_at=0, duration=1)),
    TestStarted(group=S, attempt=1, test=f"{S}.py::Test::test_{S}[1]", part=S),
    GroupFinished(result=GroupResult(group=S, status=Status.PASSED)),
    PhaseStarted(phase=S),
    ServiceStarted(service=S, pid=1, port=1, log=S),
    ServiceReady(service=S, seconds=1),
    ServiceStopped(service=S),
    RetryScheduled(group=S, attempt=2, delay=1, alone=False),
    SignalReceived(signal="SIGINT", response="stops"),
    RunFinished(exit_code=0, duration=1),
]


@pytest.fixture(scope="module")
def secrets() -> Secrets:
    known = Secrets(["*"])
    known.learn({"A": S})
    return known


@pytest.mark.parametrize("event", TELLING, ids=lambda event: type(event).__name__)
def test_no_free_text_tells_it(secrets: Secrets, event: AnyEvent) -> None:
    line = encode(Stamped(1, 0.0, 0.0, masked(event, secrets))).decode()
    assert S not in line
    assert line.count("***") == encode(Stamped(1, 0.0, 0.0, event)).decode().count(S)


@pytest.mark.parametrize("event", SILENT, ids=lambda event: type(event).__name__)
def test_names_stay_and_the_event_is_not_made_anew(secrets: Secrets, event: AnyEvent) -> None:
    assert masked(event, secrets) is event


def test_what_a_test_is_called_can_still_be_looked_up(secrets: Secrets) -> None:
    event = masked(TestStarted(group="g", attempt=1, test=f"{S}.py::test_{S}[{S}-[{S}]]"), secrets)
    assert isinstance(event, TestStarted)
    assert event.test == f"{S}.py::test_{S}[***-[***]]"
