"""What `plan --jobs` and `plan --compare` say: a prediction in words, what bounds it, and what would shorten it.

Pure text out of pure results: the simulating is done in scheduling/, the reading of the history in plan.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.cli.gantt import gantt
from harness.model import Group, Phase
from harness.planning.estimate import Estimates
from harness.reporters.text import BOLD, paint, plural, printable, seconds
from harness.scheduling.bound import Binding, Term
from harness.scheduling.predict import Prediction, predict
from harness.scheduling.whatif import Change, Drop, Jobs, Split, Unlock, WhatIf, Widen, fewer_jobs, what_ifs

SHOWN_NAMES = 8
SHOWN_CHANGES = 8
NO_GAIN = 0.01  # of the makespan


@dataclass(frozen=True)
class Known:
    """What a prediction rests on."""

    phases: tuple[Phase, ...]  # those that take part, with the groups that do, and parts in place of splittable ones
    estimates: Estimates
    apart: tuple[float, float] | None  # seconds of the services' start and of the end of a run; None: not known
    resources: Mapping[str, int]
    left_out: Mapping[str, str]  # phases that are off, and why

    @property
    def groups(self) -> tuple[Group, ...]:
        return tuple(group for phase in self.phases for group in phase.groups)

    def predict(self, jobs: int) -> Prediction:
        apart = sum(self.apart or ())
        return predict(self.phases, self.estimates.seconds, jobs=jobs, resources=self.resources, apart=apart)


def predicted(known: Known, jobs: int, width: int) -> list[str]:
    """How long a run with so many jobs takes, when each group runs, and what would help. `width` in characters."""
    prediction = known.predict(jobs)
    lines = [
        paint(f"Predicted with {plural(jobs, 'job')}: {seconds(prediction.makespan)}", BOLD) + _apart(known, prediction)
    ]
    lines += _rests_on(known)
    lines += ["", f"At least {seconds(prediction.bound.seconds)}, whatever the order (× {prediction.over_bound:.2f}):"]
    widest = max(len(printable(term.phase)) for term in prediction.bound.terms)
    for term in prediction.bound.terms:
        lines.append(f"  {printable(term.phase):{widest}}  {seconds(term.seconds):>11}  {_binds(term, known, jobs)}")
    lines += ["", *gantt(known.phases, prediction.simulated, width), "", *_advice(known, prediction)]
    return lines


def compared(known: Known, first: int, last: int) -> list[str]:
    """The makespan over the jobs, a line each, and from which number on more of them gain nothing."""
    from tabulate import tabulate

    alone = known.predict(1).makespan
    predictions = [known.predict(jobs) for jobs in range(first, last + 1)]
    rows = [
        (
            prediction.jobs,
            seconds(prediction.makespan),
            f"{alone / prediction.makespan:.2f}" if prediction.makespan else "",
            seconds(prediction.bound.seconds),
            f"{prediction.over_bound:.2f}",
            _binds_most(prediction, known),
        )
        for prediction in predictions
    ]
    headers = ["jobs", "makespan", "speedup", "at least", "× that", "what binds"]
    table = tabulate(rows, headers, tablefmt="plain", disable_numparse=True, colalign=("right",) * 5 + ("left",))
    rests_on = [line.strip() for line in _rests_on(known)]
    return [*rests_on, *([""] if rests_on else []), *table.splitlines(), "", _enough(predictions)]


def _apart(known: Known, prediction: Prediction) -> str:
    if known.apart is None:
        return " (without the services, whose time is not known yet)" if known.estimates.anything_known else ""
    services, wind_down = known.apart
    groups = seconds(prediction.simulated.makespan)
    return f" (services {seconds(services)}, groups {groups}, wind-down {seconds(wind_down)})"


def _rests_on(known: Known) -> list[str]:
    """What the reader must know before believing the numbers."""
    lines = [f"  {printable(why)}; it is left out" for why in known.left_out.values()]
    groups = dict.fromkeys(group.whole for group in known.groups)
    unknown = [name for name in groups if name in known.estimates.unknown]
    if not known.estimates.anything_known:
        lines.append("  There is no history yet: all groups count as equal, 1 s each. One run teaches it.")
    elif unknown:
        guess = seconds(known.estimates.seconds[unknown[0]])
        count = f"{len(unknown)} of {plural(len(groups), 'estimate')}"
        verb = "is a guess" if len(unknown) == 1 else "are guesses"
        lines.append(f"  {count} {verb} ({guess}, the 75th percentile of the others): {_listed(unknown)}")
    return lines


def _binds(term: Term, known: Known, jobs: int, *, chain: int = SHOWN_NAMES) -> str:
    """In words; of a `chain` at most so many names."""
    match term.binding:
        case Binding.SEQUENTIAL:
            return "one group at a time"
        case Binding.WORK:
            return f"the work over {plural(jobs, 'job')}"
        case Binding.CHAIN if len(term.names) == 1:
            return f"the longest group, {printable(term.names[0])}"
        case Binding.CHAIN:
            return f"the longest chain, {_chain(term.names, chain)}"
        case Binding.RESOURCE:
            return _resource(term.names[0], known)


def _binds_most(prediction: Prediction, known: Known) -> str:
    """Of the phase that takes the longest, since that is where the time is."""
    if prediction.jobs == 1:
        return "one job"
    term = max(prediction.bound.terms, key=lambda term: term.seconds)
    return f"{printable(term.phase)}: {_binds(term, known, prediction.jobs, chain=3)}"


def _resource(name: str, known: Known) -> str:
    if name in known.resources:
        return f"the resource {printable(name)} ({known.resources[name]})"
    if any(name in group.parallel_group for group in known.groups):
        return f"the parallel group {printable(name)}"
    return f"the lock {printable(name)}"


def _chain(names: Sequence[str], most: int) -> str:
    if len(names) > most:
        ends = [*names[: most - 2], "…", names[-1]]
        return f"{' → '.join(map(printable, ends))} ({len(names)} groups)"
    return " → ".join(map(printable, names))


def _advice(known: Known, prediction: Prediction) -> list[str]:
    seconds_of, jobs, resources = known.estimates.seconds, prediction.jobs, known.resources
    found = what_ifs(known.phases, seconds_of, jobs=jobs, resources=resources)[:SHOWN_CHANGES]
    fewer = fewer_jobs(known.phases, seconds_of, jobs=jobs, resources=resources)
    if found:
        lines = [paint("What would help, each by itself:", BOLD)]
    else:
        lines = ["No single change would help: no split, no dependency, no lock, no resource, no more jobs."]
    lines += [f"  {'−' + seconds(what.saves):>12}  {_said(what.change, known, jobs)}" for what in found]
    if fewer and isinstance(fewer.change, Jobs):
        lines.append(f"{_loses(fewer)} with {plural(fewer.change.count, 'job')} instead of {jobs}.")
    return lines


def _loses(fewer: WhatIf) -> str:
    return f"It takes {seconds(-fewer.saves)} longer" if fewer.saves < -0.005 else "It takes no longer"


def _said(change: Change, known: Known, jobs: int) -> str:
    match change:
        case Split(group):
            return f"split {printable(group)} in two"
        case Drop(group, dependency):
            return f"let {printable(group)} start without waiting for {printable(dependency)}"
        case Widen(resource, count):
            return f"{count} × {printable(resource)} instead of {known.resources[resource]}"
        case Unlock(name, groups, parallel_group):
            return _unlocked(name, groups, parallel_group)
        case Jobs(count):
            return f"{plural(count, 'job')} instead of {jobs}"


def _unlocked(name: str, groups: Sequence[str], parallel_group: bool) -> str:
    """More than two are all that there are, one is one of many."""
    who = _listed(groups) if len(groups) <= 2 else f"the {len(groups)} groups"
    if not parallel_group:
        alone = " that need it alone" if len(groups) > 2 else ""
        return f"let {who}{alone} share the lock {printable(name)}"
    if len(groups) == 1:
        return f"take {who} out of the parallel group {printable(name)}"
    return f"let {who} of the parallel group {printable(name)} run side by side"


def _listed(names: Sequence[str]) -> str:
    shown = list(map(printable, names[:SHOWN_NAMES]))
    more = len(names) - len(shown)
    if more:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def _enough(predictions: Sequence[Prediction]) -> str:
    """From which number of jobs on more of them shorten the run by less than 1 %."""
    best_from_here = float("inf")
    enough = predictions[-1]
    for prediction in reversed(predictions):
        best_from_here = min(best_from_here, prediction.makespan)
        if prediction.makespan > best_from_here / (1 - NO_GAIN):
            break
        enough = prediction
    if len(predictions) == 1 or enough is predictions[-1]:
        return f"More than {plural(enough.jobs, 'job')} may gain still: nothing above was looked at."
    return f"More than {plural(enough.jobs, 'job')} gains nothing (under 1 %)."
