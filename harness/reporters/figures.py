"""What a run came to in figures, and the verdict in one line. Pure: a finished RunRecord in, text out.

What only a run that got to its end can tell (speedup, bounds, waits, how good the prediction was) is said of no other.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from harness.errors import ExitCode
from harness.events import RunFinished, RunStarted
from harness.model import Status, TestStatus
from harness.record import PartRecord, RunRecord
from harness.reporters.base import Context
from harness.reporters.tally import Tally, tally
from harness.reporters.text import BOLD, DIM, GREEN, RED, memory, paint, plural, printable, seconds
from harness.scheduling.bound import Binding, Term

LISTED_WAITS = 4
SHORTEST_WAIT = 0.1  # seconds, of all groups together: below, it is nothing but the harness's own pace

Figure = tuple[str, str]


def figures(context: Context) -> list[str]:
    """Label and value, a line each."""
    record, files = context.record, context.files
    tests = Counter(test.status for group in record.groups.values() for test in group.tests)
    rows = [("groups", _groups(record))]
    if tests:
        rows.append(("tests", _listed((status.value, tests[status]) for status in TestStatus)))
    paused = f", and paused for {seconds(record.paused)}" if record.paused else ""
    rows.append(("total time", seconds(record.makespan) + paused))
    if record.started and record.finished and not record.finished.stopped_by:
        rows += _of_a_whole_run(record, record.started)
    rows += _usage(record)
    rows += [("log", context.shown(files.main_log)), ("reports", f"{context.shown(files.run_dir)}/")]
    return ["", *(f"  {paint(f'{label:<15}', DIM)}  {value}" for label, value in rows)]


def verdict(record: RunRecord) -> str:
    """The last line: whether the run passed, and what of it is no plain pass."""
    if record.finished is None:
        return ""
    counts = tally(record)
    excused = f"{len(counts.excused)} failed in quarantine" if counts.excused else ""
    if record.finished.exit_code == ExitCode.OK:
        return ", ".join(filter(None, (*_passed(record, counts), excused)))
    said = ", ".join(filter(None, (paint(f"✗ {_failed(record, record.finished, counts)}", BOLD, RED), excused)))
    return f"{said} (exit code {record.finished.exit_code})"


def _passed(record: RunRecord, counts: Tally) -> Iterator[str]:
    if counts.cached and not (counts.passed or counts.excused):
        yield paint(f"✓ {plural(len(counts.cached), 'group')} cached, none had to run", BOLD, GREEN)
        return
    yield paint(f"✓ {plural(len(counts.passed), 'group')} passed", BOLD, GREEN)
    if record.statuses[Status.FLAKY]:
        yield f"{record.statuses[Status.FLAKY]} of them only when tried again"
    if counts.cached:
        yield f"{len(counts.cached)} cached"


def _failed(record: RunRecord, finished: RunFinished, counts: Tally) -> str:
    failed = f"{len(counts.failed)} of {plural(len(record.groups), 'group')} failed" if counts.failed else ""
    stopped = f"stopped by {printable(finished.stopped_by)}" if finished.stopped_by else ""
    if failed or stopped:
        return ", ".join(filter(None, (failed, stopped)))
    flaky = record.statuses[Status.FLAKY]
    if flaky and finished.exit_code == ExitCode.TESTS_FAILED:
        return f'{plural(flaky, "group")} {"was" if flaky == 1 else "were"} flaky, and [run] flaky = "fail"'
    in_part = sum(any(map(_was_flaky, group.parts.values())) for group in counts.excused)
    if in_part and finished.exit_code == ExitCode.TESTS_FAILED:
        return f'files of {plural(in_part, "group")} were flaky, and [run] flaky = "fail"'
    return "the run failed"


def _was_flaky(part: PartRecord) -> bool:
    return len(part.attempts) > 1 and part.attempts[-1].status is Status.PASSED


def _listed(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts if count)


def _groups(record: RunRecord) -> str:
    excused = tally(record).excused
    decisive = record.statuses - Counter(group.status for group in excused if group.status)
    counts = [(status.value, decisive[status]) for status in Status]
    return _listed([*counts, ("failed in quarantine", len(excused))])


def _of_a_whole_run(record: RunRecord, started: RunStarted) -> list[Figure]:
    rows = []
    if started.predicted:
        off = round((record.makespan / started.predicted - 1) * 100)
        rows.append(("predicted", f"{seconds(started.predicted)}, off by {off:+d} %"))
    if record.jobs == 1 or record.sequential_time <= 0:
        return rows
    bound = record.bound(record.jobs)
    near = f", and the run took {record.makespan / bound.seconds:.2f} × that" if bound.seconds else ""
    rows += [
        ("sequential time", seconds(record.sequential_time)),
        ("speedup", f"{record.speedup:.1f} ×"),
        ("lower bound", f"{seconds(bound.seconds)} with {record.jobs} jobs{near}"),
    ]
    longest = max(bound.terms, key=lambda term: term.seconds)
    if record.services and bound.apart > longest.seconds:
        rows.append(("bound by", f"the services' start ({seconds(bound.apart)})"))
    else:
        rows.append(("bound by", f"{printable(longest.phase)}: {_binding(longest, started)}"))
    waits = _waits(record, started)
    return [*rows, ("waited", waits)] if waits else rows


def _binding(term: Term, started: RunStarted) -> str:
    took = f"({seconds(term.seconds)})"
    names = [printable(name) for name in term.names]
    match term.binding:
        case Binding.SEQUENTIAL:
            return f"runs one at a time {took}"
        case Binding.WORK:
            return f"the work over {started.jobs} jobs {took}"
        case Binding.CHAIN if len(names) == 1:
            return f"the longest group, {names[0]} {took}"
        case Binding.CHAIN:
            return f"chain {' → '.join(names)} {took}"
        case Binding.RESOURCE:
            return f"{_kind(term.names[0], started)} {names[0]} {took}"


def _kind(name: str, started: RunStarted) -> str:
    """What a resource is, by how the plan uses its name."""
    if name in started.resources:
        return "resource"
    locked = any(name in group.needs for phase in started.phases for group in phase.groups)
    return "lock" if locked else "parallel group"


def _waits(record: RunRecord, started: RunStarted) -> str:
    """What groups waited for, all of them together, the longest first. In a sequential phase waiting is the point."""
    waits: defaultdict[str, float] = defaultdict(float)
    for phase in started.phases:
        for group in phase.groups if not phase.sequential else ():
            result = record.groups[group.name].result
            for what, duration in result.waited.items() if result else ():
                waits[what] += duration
    longest = sorted(waits.items(), key=lambda wait: -wait[1])
    told = [f"{_awaited(what)} {seconds(total)}" for what, total in longest if total >= SHORTEST_WAIT]
    more = len(told) - LISTED_WAITS
    return ", ".join(told[:LISTED_WAITS]) + (f" and {more} more" if more > 0 else "")


def _awaited(what: str) -> str:
    kind, _, name = what.partition(":")
    shown = {
        "dependency": "dependencies",
        "count": "resource",
        "parallel_group": "parallel group",
        "environment": "isolation",
    }.get(kind, kind)
    return f"{shown} {printable(name)}".rstrip()


def _usage(record: RunRecord) -> list[Figure]:
    results = [group.result for group in record.groups.values() if group.result]
    cpu = sum(result.cpu_seconds for result in results)
    largest = max(results, key=lambda result: result.peak_memory, default=None)
    rows = []
    if cpu > 0 and record.makespan > 0:
        rows.append(("cpu time", f"{seconds(cpu)}, {cpu / record.makespan:.1f} cores busy"))
    if largest and largest.peak_memory:
        rows.append(("peak memory", f"{memory(largest.peak_memory)} ({printable(largest.group)})"))
    return rows
