"""Every key of harness.toml, declared once: name, type, default, meaning.

The validator (load.py), the JSON schema and the tables of docs/plan.md (describe.py) all come from these declarations.
The kinds of [isolation.NAME] have a file of their own, kinds.py. What one key's value cannot tell alone, such as
whether a name exists or a file is there, is checked in check.py and files.py.
"""

from typing import Any

from harness.planning.compound import REQUIRED, Command, DependsOn, Key, ListOf, MapOf, Needs, Resource, Table
from harness.planning.kinds import ISOLATION
from harness.planning.problems import Path, Problems
from harness.planning.types import (
    DURATION,
    IDENTIFIER,
    LINE,
    NAME,
    PATH,
    STRING,
    SWITCH,
    VARIABLE,
    VARIABLES,
    Choice,
    Count,
    Day,
    Duration,
    FilePath,
    Results,
    Size,
    Text,
    Type,
)

ENV = MapOf(VARIABLE, STRING, "table of variables")
GRACE = Duration(zero=True)
RETRIES = Count(0, 100)
NAMES = ListOf(IDENTIFIER, single=True)

RUN = Table(
    "[run]",
    Key("test_root", PATH, ".", "The directory, in the project, that `tests` are relative to."),
    Key("max_parallel_jobs", Count(), 4, "How many groups run at a time, unless `--jobs` or `MAX_PARALLEL_JOBS` says."),
    Key("timeout", DURATION, "5m", "Of an attempt of a group; afterwards it is `timed_out`."),
    Key("grace", GRACE, "10s", "Between SIGTERM and SIGKILL."),
    Key("global_timeout", DURATION, None, "Of the whole run.", "none"),
    Key("retries", RETRIES, 0, "How many more attempts a failed group gets."),
    Key(
        "retry_delay",
        GRACE,
        "1s",
        "Before the first retry; doubled before each further one, to 60 s at most, and shortened by up to a half at "
        "random.",
    ),
    Key(
        "retry_alone",
        SWITCH,
        False,
        "Retries wait until nothing else of the phase runs or could start; in a sequential phase that is at once.",
    ),
    Key(
        "warm",
        SWITCH,
        True,
        "pytest is loaded once, and forked for each group that would load the same; on Linux.",
    ),
    Key(
        "flaky",
        Choice("pass", "fail"),
        "pass",
        "What a group means for the exit code that passed only when tried again.",
    ),
    Key("history_runs", Count(1, 100_000), 200, "How many runs `.harness/history.sqlite3` keeps."),
    Key(
        "lock_files",
        ListOf(PATH, single=True),
        None,
        "Files that say which versions are installed: if one changes, nothing is `cached`.",
        "those of the usual names, if there",
    ),
    Key(
        "env_files",
        ListOf(PATH, single=True),
        None,
        "Files of `KEY=value` lines; a later one wins.",
        '`[".env"]`, if there',
    ),
    Key("env", ENV, {}, "Variables of every group."),
    Key(
        "secrets",
        ListOf(VARIABLES, "list of them", single=True),
        None,
        "Variables whose values are masked in logs, reports and messages; `*` and `?` stand for any letters.",
        "those whose names say so",
    ),
    Key("log_dir", FilePath(anywhere=True), "logs", "Where runs leave their logs and reports."),
    Key("log_limit", Size(), "1GB", "What an attempt adds to its group's log at the most; and so of a service."),
    Key("python", FilePath(anywhere=True), None, "The interpreter that runs pytest.", "the harness's own"),
)


class VariableDefault(Type):
    """A default as TOML writes it; kept as the text that a process is given."""

    def __init__(self) -> None:
        super().__init__("string, number or switch", {"type": ["string", "integer", "boolean"]})

    def read(self, value: Any, path: Path, problems: Problems) -> Any:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int) and value.bit_length() <= 64:
            return str(value)
        return STRING.read(value, path, problems)


DECLARED = Table(
    "[variables.NAME]",
    Key("type", Choice("text", "count", "switch"), "text", "What it may hold; a bad value is refused at the start."),
    Key("default", VariableDefault(), None, "What groups are given where nobody sets it.", "not set"),
    Key("description", LINE, "", "One line for people."),
)

ENVIRONMENT = Table(
    "[environments.NAME]",
    Key("services", NAMES, None, "Which services it starts.", "all for `local`, else none"),
    Key("env", ENV, {}, "Variables of every group in this environment; over those of `[run]`."),
)

READY = Table(
    "ready",
    Key(
        "http",
        Text("path", "a path on the server: it begins with /", r"/\S*"),
        None,
        "A path that answers below 400.",
        "none",
    ),
    Key("tcp", SWITCH, False, "Its port accepts a connection."),
    Key("log", Text("regular expression"), None, "Some line of its log matches.", "none"),
    Key("timeout", DURATION, "30s", "How long it may take."),
)

SERVICE = Table(
    "[[services]]",
    Key("name", IDENTIFIER, REQUIRED, "What the plan calls it, as in `{NAME.port}`."),
    Key("kind", Choice("command", "postgres"), "command", "A command of yours, or a Postgres that the harness runs."),
    Key("command", Command(), None, "What to run; `{port}` in it is a free port.", "none"),
    Key("env", ENV, {}, "Variables of its process."),
    Key("directory", PATH, None, "Where it runs, in the project.", "the project"),
    Key("ready", READY, {}, "When it may be used: one of `http`, `tcp` and `log`; none of them: at once."),
    Key("depends_on", NAMES, [], "Services that must be ready first; those it names in `{NAME.port}` are so anyway."),
    Key("grace", GRACE, "10s", "Between SIGTERM and SIGKILL."),
)

GROUP = Table(
    "[[phases.groups]]",
    Key("name", NAME, REQUIRED, "Unique in the plan; names its log and its status file."),
    Key(
        "tests",
        ListOf(FilePath("path or glob"), "list of them", single=True, filled=True),
        None,
        "Test files, globs or pytest ids under `test_root`, in order; pytest runs them.",
        "none",
    ),
    Key("command", Command(), None, "Runs instead of pytest; exit code 0 is `passed`.", "none"),
    Key("description", LINE, "", "One line for people."),
    Key(
        "category",
        Text("name", "a category: one line without commas", r"[^,\x00-\x1f\x7f-\x9f]*"),
        "",
        "For `--categories` and for listing.",
    ),
    Key(
        "depends_on",
        ListOf(DependsOn(), "list of them", single=True),
        [],
        'Groups of this phase or an earlier one that must succeed first; or, with `after = "any"`, only end.',
    ),
    Key("parallel_group", ListOf(NAME, single=True), [], "Never two groups of one of these names at once."),
    Key(
        "needs",
        MapOf(NAME, Needs(), "table of needs"),
        {},
        'Resources: how many of a counted one; or a lock, `"shared"` or `"exclusive"`.',
    ),
    Key("slots", Count(), 1, "How many of the jobs it takes."),
    Key("timeout", DURATION, None, "Of an attempt.", "that of `[run]`"),
    Key("grace", GRACE, None, "Between SIGTERM and SIGKILL.", "that of `[run]`"),
    Key("retries", RETRIES, None, "How many more attempts it gets.", "that of `[run]`"),
    Key("retry_delay", GRACE, None, "Before its first retry.", "that of `[run]`"),
    Key("retry_alone", SWITCH, None, "Its retries wait until nothing else runs.", "that of `[run]`"),
    Key(
        "services",
        NAMES,
        None,
        "What must be up while it runs; those it names in `{NAME.port}` are so anyway.",
        "all of the plan",
    ),
    Key("env", ENV, {}, "Its own variables; over those of the environment."),
    Key(
        "isolate",
        NAMES,
        [],
        "Entries of `[isolation.NAME]` that it gets one each of.",
    ),
    Key("warm", SWITCH, None, "pytest is loaded once, and forked for it.", "that of `[run]`"),
    Key(
        "process",
        Choice("group", "file"),
        "group",
        "What has a process of its own: the whole group, or each of its `tests`, one after the other.",
    ),
    Key("workers", Count(0), 0, "Of pytest-xdist; it then takes as many slots. 0: one process, no xdist."),
    Key("dist", Choice("loadfile", "load", "loadscope", "worksteal"), "loadfile", "How the workers share the tests."),
    Key(
        "splittable",
        SWITCH,
        False,
        "Its files are taken by several slots as they come free, each with environments and a process of its own.",
    ),
    Key(
        "inputs",
        ListOf(FilePath("glob"), single=True),
        [],
        "Files of the project, as globs, that its result depends on, besides its `tests`; if nothing has changed since "
        "it passed, it is `cached`.",
    ),
    Key(
        "results",
        Results(),
        None,
        "Where a command leaves the results of its tests: `junit:PATH`, `tap:PATH`, `go:PATH`; or `tap` or `go`, when "
        "it prints them.",
        "none",
    ),
)

PHASE = Table(
    "[[phases]]",
    Key("name", NAME, REQUIRED, "Unique in the plan."),
    Key("sequential", SWITCH, False, "One group at a time in the order of the plan, and a failure ends the run."),
    Key("when", VARIABLE, None, "A variable; unless it is true, the phase's groups are `skipped`.", "always"),
    Key("groups", ListOf(GROUP, "list of tables"), [], "Its groups: `[[phases.groups]]`."),
)

STAGE = Table(
    "[[pipeline]]",
    Key("name", NAME, REQUIRED, "What the stage is called."),
    Key("command", Command(), None, "What to run; any exit code but 0 ends the pipeline.", "none"),
    Key("suite", SWITCH, False, "This stage is the suite."),
)

QUARANTINE = Table(
    "[[quarantine]]",
    Key("group", NAME, None, "A group, with all its tests.", "none"),
    Key("test", LINE, None, "Instead of a group: one test, by its id as the reports show it.", "none"),
    Key("reason", LINE, REQUIRED, "Why its failures do not count."),
    Key("expires", Day(), REQUIRED, "The last day on which they do not; afterwards the plan is wrong."),
)

PLAN = Table(
    "harness.toml",
    Key("run", RUN, {}, "What holds for the whole run."),
    Key(
        "resources",
        MapOf(NAME, Resource(), "table of them"),
        {},
        "Counted resources: how much of each there is; or budgets, from which every request is taken. A name that does "
        "not stand here is a lock.",
    ),
    Key("variables", MapOf(VARIABLE, DECLARED, "table of tables"), {}, "Variables that the suite reads."),
    Key(
        "environments",
        MapOf(IDENTIFIER, ENVIRONMENT, "table of tables"),
        {},
        "What ENVIRONMENT on the command line may be, besides `local`.",
    ),
    Key("services", ListOf(SERVICE, "list of tables"), [], "What the harness starts before the groups."),
    Key("isolation", MapOf(IDENTIFIER, ISOLATION, "table of tables"), {}, "What `isolate` may name."),
    Key("phases", ListOf(PHASE, "list of tables"), [], "The phases, in order."),
    Key("pipeline", ListOf(STAGE, "list of tables"), [], "The stages of `cicd`, in order."),
    Key(
        "quarantine",
        ListOf(QUARANTINE, "list of tables"),
        [],
        "Groups and tests that run and are reported, and whose failures do not fail the run.",
    ),
)

TABLES = (RUN, DECLARED, ENVIRONMENT, SERVICE, READY, PHASE, GROUP, STAGE, QUARANTINE)

HOMES: dict[str, list[str]] = {}  # key -> the headers of the tables that have it
for table in (PLAN, *TABLES):
    for key in table.keys:
        HOMES.setdefault(key, []).append("the top level" if table is PLAN else table.title)
