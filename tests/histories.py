"""A dispatcher that is given literal inputs and answers in brief, so that the history of a run reads like a story."""

from harness.events import GroupFinished, PhaseFinished, PhaseStarted, RetryScheduled, SignalReceived
from harness.model import Phase, part_name
from harness.scheduling.dispatch import Dispatcher
from harness.scheduling.messages import Action, Cancel, Emit, Input, Kill, Start, Stop, Wake


def brief(action: Action) -> str:
    """An action as a few words, so that a history reads like a story."""
    match action:
        case Start(group, attempt, slot):
            return f"start {group.name}#{attempt} on {slot}"
        case Cancel(attempt_id):
            return f"cancel {attempt_id}"
        case Kill(attempt_id):
            return f"kill {attempt_id}"
        case Emit(PhaseStarted(phase=phase)):
            return f"phase {phase}"
        case Emit(PhaseFinished(phase=phase)):
            return f"end of {phase}"
        case Emit(GroupFinished(result=result)):
            return f"{result.group} {result.status}" + (f": {result.reason}" if result.reason else "")
        case Emit(SignalReceived(signal=name)):
            return name
        case Emit(RetryScheduled(group=name, part=part, attempt=attempt, alone=alone)):
            return f"retry {part_name(name, part)}#{attempt}" + (" alone" if alone else "")
        case Wake(attempt_id):
            return f"wake {attempt_id}"
        case Stop():
            return "stop"
        case _:
            return repr(action)


class Run:
    """A dispatcher that answers in brief."""

    def __init__(self, *phases: Phase, **options: object) -> None:
        settings = {"jobs": 2, "resources": {}} | options
        self.dispatcher = Dispatcher(phases, **settings)  # type: ignore[arg-type]

    def give(self, given: Input) -> list[str]:
        return [brief(action) for action in self.dispatcher.handle(given)]

    def statuses(self) -> dict[str, str]:
        return {name: result.status.value for name, result in self.dispatcher.results.items()}
