"""Events, masked: all text in them that does not come from the plan.

What names things (groups, parts, services, phases, entries, files of the run, tokens) stays as it is: it stands in a
committed file, and reports, reruns and history go by it. So do the file, class and function in the id of a test, which
`--last-failed` looks up; its parameters are whatever the tests made of them.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from harness.events import (
    AnyEvent,
    AttemptFinished,
    AttemptSpawned,
    GroupFinished,
    LeaseEnded,
    LeaseMade,
    RunStarted,
    ServiceFailed,
    TestFinished,
    TestStarted,
    Warned,
)
from harness.masking.secrets import Secrets
from harness.model import Group, GroupResult, Outcome, Phase, TestResult

_Noun = TypeVar("_Noun", bound=msgspec.Struct)
_Mask = Callable[[str], str]


def masked(event: AnyEvent, secrets: Secrets) -> AnyEvent:
    """The event, as everybody may see it; itself, where nothing in it is secret."""
    mask = secrets.text
    match event:
        case AttemptSpawned():
            return _with(event, argv=_each(event.argv, mask))
        case AttemptFinished():
            return _with(event, outcome=_outcome(event.outcome, mask))
        case GroupFinished():
            return _with(event, result=_group_result(event.result, mask))
        case TestStarted():
            return _with(event, test=test_id(event.test, mask))
        case TestFinished():
            return _with(event, result=_test_result(event.result, mask))
        case ServiceFailed() | LeaseEnded():
            return _with(event, reason=mask(event.reason))
        case LeaseMade():
            return _with(event, details=_values(event.details, mask))
        case Warned():
            return _with(event, message=mask(event.message))
        case RunStarted():
            phases = tuple(_phase(phase, mask) for phase in event.phases)
            return _with(event, phases=phases, filters=mask(event.filters), off=_values(event.off, mask))
    return event


def test_id(test: str, mask: _Mask) -> str:
    """The id of a test: pytest's with its parameters masked, any other as a whole."""
    name, bracket, parameters = test.partition("[") if ".py::" in test else ("", "", test)
    return name + bracket + mask(parameters)


def _with(noun: _Noun, **fields: Any) -> _Noun:
    if all(getattr(noun, name) == value for name, value in fields.items()):
        return noun
    return msgspec.structs.replace(noun, **fields)


def _each(texts: tuple[str, ...], mask: _Mask) -> tuple[str, ...]:
    return tuple(map(mask, texts))


def _values(texts: dict[str, str], mask: _Mask) -> dict[str, str]:
    return {name: mask(text) for name, text in texts.items()}


def _outcome(outcome: Outcome, mask: _Mask) -> Outcome:
    if not (outcome.reason or outcome.contaminates):
        return outcome  # it passed, as most do
    failed = tuple(test_id(test, mask) for test in outcome.failed_tests)
    contaminates = _each(outcome.contaminates, mask)
    return _with(outcome, reason=mask(outcome.reason), contaminates=contaminates, failed_tests=failed)


def _group_result(result: GroupResult, mask: _Mask) -> GroupResult:
    return _with(result, reason=mask(result.reason), contaminates=_each(result.contaminates, mask))


def _test_result(result: TestResult, mask: _Mask) -> TestResult:
    test = test_id(result.id, mask)
    return _with(result, id=test, message=mask(result.message), details=mask(result.details))


def _phase(phase: Phase, mask: _Mask) -> Phase:
    return _with(phase, groups=tuple(_group(group, mask) for group in phase.groups))


def _group(group: Group, mask: _Mask) -> Group:
    """What it runs, and with which variables."""
    command = group.command
    said = mask(command) if isinstance(command, str) else command and _each(command, mask)
    return _with(group, command=said, env=_values(group.env, mask))
