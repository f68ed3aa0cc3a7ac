"""How the benchmarks measure: commands in turn, what each run took, ratios taken round by round, what is kept of it.

A Side is a command. `in_turn` runs all sides once a round, so that a drift of the machine's speed hits all alike, each
round begun by another side; a first round is not counted, it warms caches. A side must prove by what it left behind
that it did what it claims: a figure for something else is worse than none, so that is the one thing that raises here.

Of each run these figures are taken, in seconds and bytes:

- `wall`: from before the process was started until it was gone;
- `cpu`: user and system time of the process and all that it waited for, as wait4 tells it, and of what it left behind
  for others to wait for: that is handed to this process, which makes itself the reaper of its descendants;
- `memory`: the most that the process itself had resident. The kernel's maxrss would count its largest child too, and
  begins with what this process has, so VmHWM is read while it runs, every INTERVAL;
- `others`: CPU seconds that the machine spent meanwhile on anything else. Where they are many, ratios of wall times
  tell little, and those of CPU times still something.

A Result is what a benchmark measured, raw, with versions, machine and date: benchmarks/results/NAME.json. All tables
are made from it alone. Linux only.
"""

import ctypes
import os
import platform
import re
import select
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec
from tabulate import tabulate

RESULTS = Path(__file__).parent / "results"
INTERVAL = 20  # milliseconds between two looks at a process's memory

Figures = dict[str, float]
"""What one run took: figure -> seconds, or bytes."""

UNITS = {  # figure -> what it is multiplied by to be shown, digits, unit
    "wall": (1, 2, "s"),
    "cpu": (1, 2, "s"),
    "memory": (1e-6, 0, "MB"),
    "wall a group": (1000, 2, "ms"),
    "cpu a group": (1000, 2, "ms"),
    "makespan": (1, 2, "s"),
    "bound": (1, 2, "s"),
}
# What of the caller's environment would change what a side does: the harness's console in CI, make's options, and
# whether Python compiles everything anew each time.
NOT_INHERITED = ("CI", "GITHUB_ACTIONS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONDONTWRITEBYTECODE")

_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Side:
    """One of the things that are compared."""

    name: str
    command: Sequence[str] | None  # None: the tool is not installed, and there is nothing to run
    directory: Path
    rounds: int
    proof: Callable[[str], bool]  # of what it printed, or left behind: whether it did what it should
    groups: int = 0  # how many it runs: adds the figures a group
    prepare: Callable[[], object] = lambda: None  # before each run, not measured
    more: Callable[[], Figures] = dict  # after each run: what else is known of it
    warm: bool = True  # whether it takes part in the round that does not count


class Comparison(msgspec.Struct, frozen=True, omit_defaults=True):
    """A figure of a side, over one of another where `beside` names it; and the goal for its median."""

    says: str
    side: str
    figure: str
    beside: str = ""
    beside_figure: str = ""  # empty: the same one
    at_most: float | None = None
    at_least: float | None = None


class Result(msgspec.Struct, frozen=True):
    name: str
    title: str
    shown: tuple[str, ...]  # the figures in the table of the sides
    sides: dict[str, list[Figures]]  # one for each round; none: not installed
    comparisons: tuple[Comparison, ...]
    versions: dict[str, str]
    machine: dict[str, str]
    date: str


def result(
    name: str,
    title: str,
    sides: Mapping[str, list[Figures]],
    comparisons: Sequence[Comparison],
    versions: Mapping[str, str],
    *,
    shown: tuple[str, ...] = ("wall", "cpu"),
) -> Result:
    return Result(name, title, shown, dict(sides), tuple(comparisons), dict(versions), machine(), f"{date.today()}")


def machine() -> dict[str, str]:
    """What the figures depend on. It does not tell which machine it is."""
    cpu = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "cores": str(len(os.sched_getaffinity(0))),
    }


def in_turn(sides: Sequence[Side]) -> dict[str, list[Figures]]:
    """Runs them round by round. Raises RuntimeError where a side did not do what it claims."""
    measured: dict[str, list[Figures]] = {side.name: [] for side in sides}
    for number in range(-1, max(side.rounds for side in sides)):
        first = number % len(sides)
        for side in (*sides[first:], *sides[:first]):
            if side.command and number < side.rounds and (number >= 0 or side.warm):
                figures = run(side)
                if number >= 0:
                    measured[side.name].append(figures)
    return measured


def run(side: Side) -> Figures:
    """Runs a side once. Raises RuntimeError if it fails, or did not do what it claims."""
    side.prepare()
    env = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    with tempfile.TemporaryFile() as output:
        code, figures = _spend(side.command or (), side.directory, env, output.fileno())
        output.seek(0)
        printed = output.read().decode(errors="replace")
    if code or not side.proof(printed):
        raise RuntimeError(f"{side.name} did not do what it should (exit code {code}):\n{printed[-2000:]}")
    if side.groups:
        figures |= {f"{name} a group": figures[name] / side.groups for name in ("wall", "cpu")}
    return figures | side.more()


@contextmanager
def _reaping() -> Iterator[None]:
    """Descendants without a parent become children of this process."""
    system = ctypes.CDLL(None)
    system.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        system.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@_reaping()
def _spend(command: Sequence[str], directory: Path, env: Mapping[str, str], output: int) -> tuple[int, Figures]:
    """Exit code and figures."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
    )
    ended = select.poll()
    handle = os.pidfd_open(process.pid)
    ended.register(handle, select.POLLIN)
    memory, busy = 0, _busy()
    while not ended.poll(INTERVAL):
        memory = max(memory, _peak(process.pid))
    wall = time.perf_counter() - began
    os.close(handle)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # or Popen would look for it
    cpu = usage.ru_utime + usage.ru_stime + _left_behind()
    others = max(0.0, _busy() - busy - cpu)
    return process.returncode, {"wall": wall, "cpu": cpu, "memory": memory, "others": others}


def _busy() -> float:
    """CPU seconds that the machine has worked since it was started."""
    user, nice, system, _idle, _waiting, *interrupts = Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    return sum(map(int, (user, nice, system, *interrupts))) / os.sysconf("SC_CLK_TCK")


def _peak(pid: int) -> int:
    """The most memory that the process has had so far, in bytes; 0 of one that is ending."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _left_behind() -> float:
    """CPU seconds of what the process had not waited for when it ended."""
    cpu = 0.0
    while True:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return cpu
        if not pid:  # some still run
            return cpu
        cpu += usage.ru_utime + usage.ru_stime


def silent(_printed: str) -> bool:
    """The proof of what prints nothing: that it did not fail, which is looked at anyway."""
    return True


def said(pattern: str, times: int = 1) -> Callable[[str], bool]:
    """The proof that it printed this so many times."""
    return lambda printed: len(re.findall(pattern, printed, re.MULTILINE)) == times


def ratios(measured: Result, comparison: Comparison) -> list[float]:
    """Round by round, as many as both sides have; the figures themselves if it is beside nothing."""
    ours = [figures[comparison.figure] for figures in measured.sides[comparison.side]]
    if not comparison.beside:
        return ours
    theirs = [figures[comparison.beside_figure or comparison.figure] for figures in measured.sides[comparison.beside]]
    return [our / their for our, their in zip(ours, theirs, strict=False)]


def cores_of_others(measured: Result) -> str:
    """How many cores other processes took while the sides ran, on average; unknown where no run tells."""
    runs = [figures for rounds in measured.sides.values() for figures in rounds if "others" in figures]
    wall = sum(figures["wall"] for figures in runs)
    return f"{sum(figures['others'] for figures in runs) / wall:.1f}" if wall else "unknown"


def compared(measured: Result) -> list[list[str]]:
    """A row for each comparison: what, median, from least to most, goal, whether the median reaches it."""
    rows = []
    for comparison in measured.comparisons:
        unit = (1, 2, "×") if comparison.beside else UNITS[comparison.figure]
        goal, met = "", ""
        every = ratios(measured, comparison)
        for word, bound, sign in (("at most", comparison.at_most, 1), ("at least", comparison.at_least, -1)):
            if bound is not None:
                goal = f"{word} {bound * unit[0]:.3g} {unit[2]}"
                met = ("yes" if sign * statistics.median(every) <= sign * bound else "no") if every else ""
        rows.append([comparison.says, *_median_and_span(every, unit), goal, met])
    return rows


def render(measured: Result) -> str:
    """The tables that a benchmark prints."""
    headers = [""]
    for figure in measured.shown:
        headers += [figure, ""]
    rows = []
    for name, rounds in measured.sides.items():
        row = [name]
        for figure in measured.shown:
            every = [figures[figure] for figures in rounds if figure in figures]
            row += _median_and_span(every, UNITS[figure]) if every or not rounds else ("", "")
        rows.append([*row, str(len(rounds))])
    parts = [
        f"{measured.title}; medians, least to most",
        tabulate(rows, [*headers, "rounds"], disable_numparse=True),
        tabulate(compared(measured), ["", "median", "", "goal", "met"], disable_numparse=True),
        f"{measured.date}, {described(measured.machine)}, {cores_of_others(measured)} of them taken by others\n"
        f"{described(measured.versions)}",
    ]
    return "\n\n".join(parts) + "\n"


def described(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {fact}" for name, fact in facts.items())


def _median_and_span(values: Sequence[float], unit: tuple[float, int, str]) -> tuple[str, str]:
    if not values:
        return "not installed", ""
    return _shown(statistics.median(values), unit), f"{_shown(min(values), unit)} to {_shown(max(values), unit)}"


def _shown(value: float, unit: tuple[float, int, str]) -> str:
    times, digits, name = unit
    shown = value * times
    return f"{shown:.{digits + 1 if digits and shown < 0.1 else digits}f} {name}"


def save(measured: Result) -> None:
    RESULTS.mkdir(exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(_rounded(measured)), indent=1)
    (RESULTS / f"{measured.name}.json").write_bytes(text + b"\n")


def load(name: str) -> Result:
    return msgspec.json.decode((RESULTS / f"{name}.json").read_bytes(), type=Result)


def _rounded(measured: Result) -> Result:
    """With no more digits than a clock can answer for."""
    sides = {
        name: [{figure: round(value, 6) for figure, value in every.items()} for every in rounds]
        for name, rounds in measured.sides.items()
    }
    return msgspec.structs.replace(measured, sides=sides)
