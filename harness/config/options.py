"""The options of `test`, each declared once: flags, variable, key of the plan, default, help.

`OPTIONS` is data: the door builds its command line from it, the documentation its tables, and `resolve` the settings of
a run. For each option the command line is over the variable, this over the plan, this over the default; where a value
came from is kept with it. Nothing here parses a command line or reads the environment.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from harness.errors import UsageError
from harness.model import Plan, Variable
from harness.values import MAX_COUNT, parse_count, parse_duration, parse_switch, quoted

PLAN_FILE = "harness.toml"
ANY_SEED = 0  # of --shuffle: take one and say which
MAX_SEED = 2**31 - 1
DEFAULT = "default"

Parse = Callable[[str, str], Any]
"""From a text and the name of the option or variable to the value; raises UsageError naming it."""


@dataclass(frozen=True)
class Shard:
    index: int  # from 1
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True)
class Option:
    """One option. `metavar` is empty for a switch, which is true when it is given."""

    name: str  # in Settings, and the key of the mapping that `resolve` takes
    flags: tuple[str, ...]  # the first is the one that messages speak of
    help: str
    section: str  # the heading in --help
    metavar: str = ""
    parse: Parse | None = None
    variable: str = ""
    plan_field: str = ""  # of Plan; [run] has a key of the same name
    default: Any = None
    alone: str | None = None  # the text that the option stands for when it is given without a value; None: it needs one


def _count(minimum: int = 1, maximum: int = MAX_COUNT) -> Parse:
    return lambda text, name: parse_count(text, name, minimum, maximum)


def _names(text: str, name: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise UsageError(f"{name}: {quoted(text)} names nothing; write names with commas between them")
    return names


def _text(text: str, name: str) -> str:
    if not text.strip() or "\0" in text:
        raise UsageError(f"{name}: {quoted(text)} is empty; leave the option out, or give it a value")
    return text


def _shard(text: str, name: str) -> Shard:
    index, slash, total = text.partition("/")
    if not slash:
        raise UsageError(f"{name}: {quoted(text)} is not a shard; write 2/4 for the second of four")
    count = parse_count(total, name, 1)
    return Shard(parse_count(index, name, 1, count), count)


def _tests(text: str, name: str) -> tuple[str, ...]:
    return (_text(text, name),)


SELECT, SCHEDULE, SHOW = "What runs", "How it runs", "What is shown"

OPTIONS: tuple[Option, ...] = (
    Option("groups", ("--groups", "--suites"), "Only these groups.", SELECT, "a,b", _names, default=()),
    Option("categories", ("--categories",), "Only groups of these categories.", SELECT, "a,b", _names, default=()),
    Option("phases", ("--phases",), "Only these phases.", SELECT, "a,b", _names, default=()),
    Option(
        "markers", ("--markers",), "Only tests with such markers, as pytest's -m.", SELECT, "EXPR", _text, default=""
    ),
    Option(
        "tests",
        ("--t",),
        "One test: a group, a file, a pytest id, or part of one. Its output is shown live.",
        SELECT,
        "NAME",
        _tests,
        default=(),
    ),
    Option("keyword", ("-k",), "Only tests whose names match, as pytest's -k.", SELECT, "EXPR", _text, default=""),
    Option("last_failed", ("--last-failed",), "Only what failed the last time, or never ran.", SELECT, default=False),
    Option(
        "changed",
        ("--changed",),
        "Only groups whose tests or inputs differ from a commit, or that name no inputs.",
        SELECT,
        "[REF]",
        _text,
        default="",
        alone="HEAD",
    ),
    Option(
        "shard",
        ("--shard",),
        "One of N equal parts, for as many machines; see `merge`.",
        SELECT,
        "I/N",
        _shard,
        default=None,
    ),
    Option("no_cache", ("--no-cache",), "Run also what has not changed since it passed.", SELECT, default=False),
    Option("parallel", ("--parallel",), "Run groups side by side.", SCHEDULE, default=False),
    Option(
        "jobs",
        ("--jobs", "--max-parallel"),
        "How many groups run at a time, with --parallel.",
        SCHEDULE,
        "N",
        _count(),
        "MAX_PARALLEL_JOBS",
        "max_parallel_jobs",
        4,
    ),
    Option("fail_fast", ("--fail-fast",), "Stop at the first failed group.", SCHEDULE, default=False),
    Option("max_failures", ("--max-failures",), "Stop after N failed groups.", SCHEDULE, "N", _count(), default=None),
    Option(
        "retries",
        ("--retries",),
        "How many more attempts a failed group gets, over the plan.",
        SCHEDULE,
        "N",
        _count(0, 100),
        default=None,
    ),
    Option(
        "timeout",
        ("--timeout",),
        "Of an attempt of any group, as 90s or 5m, over the plan.",
        SCHEDULE,
        "T",
        parse_duration,
        default=None,
    ),
    Option(
        "global_timeout",
        ("--global-timeout",),
        "Of the whole run.",
        SCHEDULE,
        "T",
        parse_duration,
        plan_field="global_timeout",
        default=None,
    ),
    Option(
        "shuffle",
        ("--shuffle",),
        "Start groups in a random order; the same one for the same SEED.",
        SCHEDULE,
        "[SEED]",
        _count(0, MAX_SEED),
        default=None,
        alone=str(ANY_SEED),
    ),
    Option(
        "repeat",
        ("--repeat",),
        "Run it all so many times; stop after the first run that fails.",
        SCHEDULE,
        "N",
        _count(),
        default=1,
    ),
    Option(
        "keep_environment",
        ("--keep-environment",),
        "Keep the environments of groups that fail; see `enter` and `gc`.",
        SCHEDULE,
        default=False,
    ),
    Option("list", ("--list",), "Show the groups that would run, and stop.", SHOW, default=False),
    Option("dry_run", ("--dry-run",), "Show what would run, and in which order, and stop.", SHOW, default=False),
    Option("compact", ("--compact",), "Only failures and the summary.", SHOW, default=False),
    Option("verbose", ("--verbose",), "Output live, each line prefixed by its group.", SHOW, default=False),
    Option(
        "log_dir",
        ("--log-dir",),
        "Where logs and reports go.",
        SHOW,
        "DIR",
        _text,
        plan_field="log_dir",
        default="logs",
    ),
)


@dataclass(frozen=True)
class Settings:
    """The value of every option. Durations are seconds. None: not asked for, so the plan's own values hold."""

    groups: tuple[str, ...]
    categories: tuple[str, ...]
    phases: tuple[str, ...]
    markers: str
    tests: tuple[str, ...]
    keyword: str
    last_failed: bool
    changed: str  # a commit; empty: not asked for
    shard: Shard | None
    no_cache: bool
    parallel: bool
    jobs: int
    fail_fast: bool
    max_failures: int | None
    retries: int | None
    timeout: float | None
    global_timeout: float | None
    shuffle: int | None  # a seed; 0: any
    repeat: int
    keep_environment: bool
    list: bool
    dry_run: bool
    compact: bool
    verbose: bool
    log_dir: str
    origins: Mapping[str, str] = field(default_factory=dict)

    def origin(self, name: str) -> str:
        """Where the value of an option came from: a flag, a variable, "harness.toml" or "default"."""
        return self.origins[name]

    @property
    def stop_after(self) -> int:
        """After how many failed groups the run stops; 0: never."""
        return 1 if self.fail_fast else self.max_failures or 0


def resolve(
    command_line: Mapping[str, Any],
    variables: Mapping[str, str],
    plan: Plan,
    unshown: Collection[str] = frozenset(),
) -> Settings:
    """The settings of a run; UsageError with every bad option and variable at once.

    `command_line` maps names of options to their text (a sequence of texts where one was given several times) or, for
    a switch, to a bool; None and absent mean not given. An empty variable is the same as none. Messages keep the values
    of the variables in `unshown` to themselves.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for option in OPTIONS:
        try:
            values[option.name], origins[option.name] = _resolve_one(option, command_line, variables, plan)
        except UsageError as error:
            problems.append(_without_value(error.message, option.variable, variables, unshown))
    if values.get("fail_fast") and (values.get("max_failures") or 1) > 1:
        problems.append("--fail-fast: stops at the first failure, and --max-failures later; leave one out")
    if values.get("compact") and values.get("verbose"):
        problems.append("--compact: shows less, and --verbose more; leave one out")
    problems += _bad_variables(plan, variables, unshown)
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))
    return Settings(**values, origins=origins)


def _resolve_one(
    option: Option, command_line: Mapping[str, Any], variables: Mapping[str, str], plan: Plan
) -> tuple[Any, str]:
    given = command_line.get(option.name)
    if option.parse is None:
        return (True, option.flags[0]) if given else (option.default, DEFAULT)
    texts: Sequence[str] = [given] if isinstance(given, str) else given or []
    if texts:
        read = [option.parse(text, option.flags[0]) for text in texts]
        # Lists of names add up; of anything else the last one wins, as everywhere.
        value = tuple(dict.fromkeys(sum(read, ()))) if isinstance(read[-1], tuple) else read[-1]
        return value, option.flags[0]
    if text := variables.get(option.variable, ""):
        return option.parse(text, option.variable), option.variable
    if option.plan_field:
        return getattr(plan, option.plan_field), PLAN_FILE if option.plan_field in plan.written else DEFAULT
    return option.default, DEFAULT


def _without_value(message: str, name: str, variables: Mapping[str, str], unshown: Collection[str]) -> str:
    """The message about the variable `name`, without its value if that is not to be shown."""
    return message.replace(quoted(variables[name]), "its value") if name in unshown else message


def _bad_variables(plan: Plan, variables: Mapping[str, str], unshown: Collection[str]) -> list[str]:
    """What is wrong with the variables that the plan itself speaks of."""
    asked = {phase.when: Variable(name=phase.when, type="switch") for phase in plan.phases if phase.when}
    asked |= {variable.name: variable for variable in plan.variables}
    problems = []
    for name, variable in asked.items():
        text = variables.get(name, "")
        try:
            if variable.type == "switch":
                parse_switch(text, name)
            elif variable.type == "count" and text:
                parse_count(text, name)
        except UsageError as error:
            problems.append(_without_value(error.message, name, variables, unshown))
    return problems


def apply(plan: Plan, settings: Settings) -> Plan:
    """The plan with what the options say for all groups: --timeout and --retries."""
    changes: dict[str, Any] = {}
    if settings.timeout is not None:
        changes["timeout"] = settings.timeout
    if settings.retries is not None:
        changes["retries"] = settings.retries
    if not changes:
        return plan
    phases = tuple(
        msgspec.structs.replace(
            phase, groups=tuple(msgspec.structs.replace(group, **changes) for group in phase.groups)
        )
        for phase in plan.phases
    )
    return msgspec.structs.replace(plan, phases=phases)
