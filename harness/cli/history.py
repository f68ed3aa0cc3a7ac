"""`history`: what the last runs took and how they ended; or one group's runs, its slowest tests and its errors.

It reads the project's history and nothing else of a run. Only --import writes, and only to add the runs of other
machines.
"""

import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import click

from harness.cli.door import Door, caution, out, pass_door
from harness.cli.logs import say
from harness.errors import HarnessError, InfrastructureError, UsageError
from harness.history import HISTORY_FILE, History
from harness.model import Status
from harness.past import PastGroup, PastRun, SlowTest
from harness.planning.problems import did_you_mean
from harness.reporters.text import BOLD, DIM, GREEN, RED, json_text, memory, paint, plural, printable, seconds
from harness.statistics.trend import Trend, trend
from harness.values import quoted

SHOWN_RUNS = 20
SHOWN_GROUP_RUNS = 60
SHOWN_TESTS = 10
SHOWN_ERRORS = 10
SHOWN_FAILURES = 3  # groups that a row of the table names
COMPARED = 60  # runs at most in a sparkline
SPARKS = "▁▂▃▄▅▆▇█"
PLAIN_SPARKS = str.maketrans(SPARKS, "_.:-=+*#")
LEAST_RANGE = 0.2  # of the largest value; a sparkline of less would show noise as mountains

EXAMPLES = """\b
Examples:
  ./exec.sh local history                  the last 20 runs
  ./exec.sh local history search           the group search: durations, slowest tests, errors
  ./exec.sh local history --format json
  ./exec.sh local history --import other-machine/history.sqlite3
"""


@click.command("history", epilog=EXAMPLES)
@click.argument("group", required=False)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the last N runs.  [20; of a group 60]")
@click.option(
    "--import",
    "imports",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    multiple=True,
    help="First add the runs of another machine's history.sqlite3. Can be given several times.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@pass_door
def history(door: Door, group: str | None, limit: int | None, imports: tuple[Path, ...], form: str) -> int:
    """Show the last runs, or those of one GROUP: times, trend, failures."""
    path = door.project / HISTORY_FILE
    if not (imports or path.exists()):
        raise nothing_yet(door.project)
    with closing(History.open(path)) as past:
        for file in imports:
            new = past.absorb(file)
            if not past.is_durable:
                raise InfrastructureError(
                    f"{file} was not added: " + "; ".join(past.warnings), "Make the history writable, or set it aside."
                )
            say(f"{plural(new, 'new run')} in {file}")
        try:
            if group is None:
                content, lines = _of_runs(past, limit or SHOWN_RUNS)
            else:
                content, lines = _of_group(past, group, limit or SHOWN_GROUP_RUNS, door)
        finally:
            caution(past.warnings)
        if not content:
            raise nothing_yet(door.project)
    if form == "json":
        click.echo(json_text(content))
    else:
        show(lines)
    return 0


def nothing_yet(project: Path) -> UsageError:
    """For every command that needs a history where there is none."""
    return UsageError(f"there is no history of {project} yet", "the command `test` makes one")


def show(lines: list[str]) -> None:
    """Prints them; where the console lacks the glyphs of a sparkline, with plainer ones."""
    try:
        SPARKS.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        lines = [line.translate(PLAIN_SPARKS) for line in lines]
    out().write(lines)


def _of_runs(past: History, limit: int) -> tuple[dict[str, Any], list[str]]:
    """The last runs as plain values and as lines; nothing where there is no run."""
    runs = past.runs(max(limit, COMPARED))
    if not runs:
        return {}, []
    failed = past.failed_groups(limit)
    alike = comparable(runs)
    found = trend([run.duration for run in alike])
    content = {
        "runs": [
            {**_plain(run), "speedup": speedup(run), "failed_groups": failed.get(run.key, [])} for run in runs[:limit]
        ],
        "trend": _plain_trend(found),
    }
    return content, [*table(runs[:limit], failed, now=time.time()), *_development(alike, found)]


def _plain(noun: PastRun | PastGroup | SlowTest) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(noun)
    return plain


def _plain_trend(found: Trend | None) -> dict[str, Any] | None:
    from dataclasses import asdict

    return asdict(found) if found else None


def speedup(run: PastRun) -> float:
    """Sequential time over the run's own."""
    return run.sequential_time / run.duration if run.duration > 0 else 1.0


def comparable(runs: Sequence[PastRun]) -> list[PastRun]:
    """Of runs, newest first, those whose times say something about one another, oldest first.

    That is: those that passed and are like the newest that passed, in environment, jobs, shard and number of groups.
    """

    def kind(run: PastRun) -> tuple[object, ...]:
        return run.environment, run.jobs, run.shard, run.groups

    passed = [run for run in runs if run.exit_code == 0]
    return [run for run in reversed(passed) if kind(run) == kind(passed[0])][-COMPARED:]


def table(runs: Sequence[PastRun], failed: dict[str, list[str]], now: float) -> list[str]:
    """A row a run, at wall time `now`; columns that would say nothing are left out."""
    from tabulate import tabulate

    several_hosts = len({run.host for run in runs}) > 1
    sharded = any(run.shard for run in runs)
    headers = ["when", "run", *["host"] * several_hosts, "commit", "jobs", *["shard"] * sharded]
    headers += ["groups", "failed", "time", "speedup", "× bound", "exit"]
    rows = []
    for run in runs:
        row = [f"{age(now - run.started_at)} ago", printable(run.run_id), *[printable(run.host)] * several_hosts]
        row += [printable(run.commit[:8]) + "*" * run.dirty, str(run.jobs), *[printable(run.shard)] * sharded]
        row += [str(run.groups), _names(failed.get(run.key, [])), seconds(run.duration), f"{speedup(run):.1f}"]
        row += [f"{run.duration / run.lower_bound:.2f}" if run.lower_bound > 0 else "", _exit(run)]
        rows.append(row)
    right = {"when", "jobs", "groups", "time", "speedup", "× bound", "exit"}
    align = ["right" if header in right else "left" for header in headers]
    drawn = tabulate(rows, headers, tablefmt="simple", disable_numparse=True, colalign=align)
    head, rule, *body = (line.rstrip() for line in drawn.splitlines())
    return [paint(head, BOLD), paint(rule, DIM), *body]


def age(passed: float) -> str:
    """A time span of `passed` seconds in one unit, of which there are two at least."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if passed >= 2 * size:
            return f"{int(passed // size)} {unit}"
    return f"{max(0, int(passed))} s"


def _names(groups: list[str]) -> str:
    names = ", ".join(map(printable, groups[:SHOWN_FAILURES]))
    more = len(groups) - SHOWN_FAILURES
    return paint(names + (f" and {more} more" if more > 0 else ""), RED)


def _exit(run: PastRun) -> str:
    stopped = f" ({printable(run.stopped_by)})" if run.stopped_by else ""
    return paint(f"{run.exit_code}{stopped}", GREEN if run.exit_code == 0 else RED)


def _development(runs: list[PastRun], found: Trend | None) -> list[str]:
    if len(runs) < 2:
        return []
    newest = runs[-1]
    alike = f"{plural(len(runs), 'run')} like the newest that passed ({plural(newest.groups, 'group')}"
    alike += f", {newest.jobs} at a time{', shard ' + printable(newest.shard) if newest.shard else ''})"
    return ["", f"{alike}:", f"  {sparkline([run.duration for run in runs])}  {_in_words(found)}"]


def sparkline(values: Sequence[float]) -> str:
    """A glyph a value, from the smallest to the largest, whose distance counts as a fifth of the largest at least."""
    high = max(values)
    low = min(*values, high * (1 - LEAST_RANGE))
    step = (high - low) / (len(SPARKS) - 1)
    return "".join(SPARKS[round((value - low) / step)] if step > 0 else SPARKS[0] for value in values)


def _in_words(found: Trend | None) -> str:
    if found is None:
        return "too few runs for a trend"
    over = f"over {plural(found.values, 'run')}"
    if found.steady:
        return f"steady {over}"
    size = abs(found.slope)
    amount = f"{1000 * size:.1f} ms" if size < 0.1 else seconds(size)
    return f"{'+' if found.slope > 0 else '-'}{amount} a run {over}"


def _of_group(past: History, name: str, limit: int, door: Door) -> tuple[dict[str, Any], list[str]]:
    """One group's runs as plain values and as lines. Raises UsageError where there are none."""
    runs = past.groups(name, limit)
    if not runs:
        raise _unknown(name, past, door)
    durations = [run.duration for run in reversed(runs) if run.status is Status.PASSED and not run.partial]
    found = trend(durations)
    slowest = past.slowest_tests(name, SHOWN_TESTS)
    examples = past.examples()
    errors = Counter(run.error for run in runs if run.error).most_common(SHOWN_ERRORS)
    content = {
        "group": name,
        "runs": [_plain(run) for run in runs],
        "trend": _plain_trend(found),
        "slowest_tests": [_plain(test) for test in slowest],
        "errors": [{"hash": digest, "count": count, "example": examples.get(digest, "")} for digest, count in errors],
    }
    lines = [*_endings(name, runs), *_figures(runs, durations[-COMPARED:], found)]
    if slowest:
        lines += ["", paint("slowest tests", BOLD) + " (medians)", *map(_slow_test, slowest)]
    if errors:
        rows = [f"  {n:>4} ×  {paint(digest, DIM)}  {printable(examples.get(digest, ''))}" for digest, n in errors]
        lines += ["", paint("errors", BOLD) + " (alike but for numbers)", *rows]
    return content, lines


def _slow_test(test: SlowTest) -> str:
    remarks = [plural(test.runs, "run")]
    remarks += [f"cpu {seconds(test.cpu_seconds)}"] if test.cpu_seconds is not None else []
    # A peak is reached once: most tests add nothing to it.
    remarks += [f"memory +{memory(test.memory_growth)}"] if test.memory_growth else []
    return f"  {seconds(test.seconds):>8}  {printable(test.test)}  {paint(', '.join(remarks), DIM)}"


def _unknown(name: str, past: History, door: Door) -> UsageError:
    planned: set[str] = set()
    with suppress(HarnessError):  # a wrong plan only costs the suggestion
        planned = {group.name for group in door.plan.groups}
    if name in planned:
        return UsageError(
            f"the group {quoted(name)} has not run yet", f"run it: {door.command('test', '--groups', name)}"
        )
    known = planned | set(past.group_names())
    return UsageError(f"there is no group {quoted(name)} in the history", did_you_mean(name, known))


def _endings(name: str, runs: list[PastGroup]) -> list[str]:
    """How often it ended how."""
    counts = Counter(run.status for run in runs)
    endings = ", ".join(f"{counts[status]} {status.value}" for status in Status if counts[status])
    return [f"{paint(printable(name), BOLD)}: {plural(len(runs), 'run')}, {endings}"]


def _figures(runs: list[PastGroup], durations: list[float], found: Trend | None) -> list[str]:
    cpu, took = sum(run.cpu_seconds for run in runs), sum(run.duration for run in runs)
    share = f", {100 * cpu / took:.0f} % of its time" if took > 0 else ""
    peaks = [run.peak_memory for run in runs if run.peak_memory]
    most = f"median {memory(round(statistics.median(peaks)))}, at most {memory(max(peaks))}" if peaks else "not known"
    figures = [
        ("CPU", f"median {seconds(statistics.median(run.cpu_seconds for run in runs))}{share}"),
        ("memory", most),
        ("waited", f"median {seconds(statistics.median(run.waited for run in runs))} before it started"),
    ]
    if durations:
        span = f"{seconds(min(durations))} to {seconds(max(durations))}"
        middle = f"median {seconds(statistics.median(durations))}, {span} where it passed"
        figures = [("duration", sparkline(durations)), ("", middle), ("trend", _in_words(found)), *figures]
    return [f"  {paint(f'{label:<10}', DIM) if label else ' ' * 10}{text}" for label, text in figures]
