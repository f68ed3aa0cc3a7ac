"""The nouns: what a plan says, and what became of it. Frozen data with a JSON round trip (msgspec), no behaviour.

Units: durations are seconds (float, monotonic), wall times are seconds since the epoch, memory is bytes. Names are
those of SPEC.md, section 2. This module imports nothing of the house.
"""

from enum import StrEnum
from typing import Literal

import msgspec


class Noun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Base of all nouns: immutable, keyword-only, comparable by value, picklable.

    A noun never leads back to itself, so the cyclic garbage collector need not look at it.
    """


class Status(StrEnum):
    """How a group ended. Every group of a run ends in exactly one of these."""

    PASSED = "passed"
    FAILED = "failed"
    FLAKY = "flaky"  # passed on a later attempt
    TIMED_OUT = "timed_out"
    KILLED = "killed"  # by a signal that was not ours
    ERROR = "error"  # could not be started, or its environment could not be made
    NO_TESTS = "no_tests"
    SKIPPED = "skipped"  # a dependency failed, or its phase is off: the reason says which
    CACHED = "cached"
    INTERRUPTED = "interrupted"  # was running when the run was stopped
    NOT_RUN = "not_run"  # had not started when the run was stopped
    LOST = "lost"  # the harness died while it ran, or could not write down how it ended

    @property
    def succeeded(self) -> bool:
        """Whether what depends on the group may start."""
        return self in SUCCESSES

    @property
    def is_failure(self) -> bool:
        """Whether it counts for --fail-fast and exit code 1 or 3."""
        return self in FAILURES


SUCCESSES = frozenset({Status.PASSED, Status.FLAKY, Status.CACHED})
FAILURES = frozenset({Status.FAILED, Status.TIMED_OUT, Status.KILLED, Status.ERROR, Status.NO_TESTS, Status.LOST})


class TestStatus(StrEnum):
    """How one test inside a group ended. An `error` is a failure of a fixture, not of the test."""

    __test__ = False  # pytest must not take it for a test class

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    XPASSED = "xpassed"


class LockMode(StrEnum):
    """How a group holds a lock: beside other sharers, or alone."""

    SHARED = "shared"
    EXCLUSIVE = "exclusive"


class After(StrEnum):
    """What a dependency waits for: that the other group succeeds, or only that it has ended."""

    SUCCESS = "success"
    ANY = "any"


class Dependency(Noun, frozen=True):
    group: str
    after: After = After.SUCCESS


class Group(Noun, frozen=True):
    """The unit of scheduling. Exactly one of `tests` and `command` is set."""

    name: str
    phase: str
    tests: tuple[str, ...] = ()  # files, relative to the test root, globs already resolved, in order
    command: str | tuple[str, ...] | None = None  # a string for `bash -c`, or an argv
    description: str = ""
    category: str = ""
    depends_on: tuple[Dependency, ...] = ()
    parallel_group: tuple[str, ...] = ()
    needs: dict[str, int | LockMode] = {}
    slots: int = 1
    timeout: float = 300.0  # of an attempt
    grace: float = 10.0  # between SIGTERM and SIGKILL
    retries: int = 0
    retry_delay: float = 1.0  # seconds before the first retry; doubled before each further one
    retry_alone: bool = False  # its retries wait until nothing else of the phase runs or could start
    services: tuple[str, ...] = ()  # names of the services that must be up, dependencies included
    env: dict[str, str] = {}
    isolate: tuple[str, ...] = ()
    holds: dict[str, int] = {}  # what its environments use up: entry of `isolate` -> units (planning/kinds.py)
    workers: int = 0  # 0: pytest runs in one process
    dist: Literal["load", "loadfile", "loadscope", "worksteal"] = "loadfile"
    process: Literal["group", "file"] = "group"  # whether each of `tests` has a process of its own
    warm: bool = True  # its processes may be forks of one in which pytest is loaded
    inputs: tuple[str, ...] = ()  # globs, relative to the project
    results: str = ""  # FORMAT:PATH or FORMAT, where a command leaves the results of its tests
    partial: bool = False  # in this run, some of its tests were left out by the options
    splittable: bool = False  # each of its files is a part, which has a slot, environments and a process of its own
    part_of: str = ""  # of a part (scheduling/parts.py): the group that it is a part of

    @property
    def files(self) -> tuple[str, ...]:
        """Its test files, each once, in order."""
        return tuple(dict.fromkeys(test.partition("::")[0] for test in self.tests))

    @property
    def whole(self) -> str:
        """The group that people know: it itself, or the one that it is a part of."""
        return self.part_of or self.name

    @property
    def part(self) -> str:
        """Of a part: its file."""
        return self.files[0] if self.part_of else ""


def part_name(group: str, part: str) -> str:
    """What a part of a group is called where both compete with other groups. No group of a plan can be called so."""
    return f"{group}/{part}" if part else group


class Phase(Noun, frozen=True):
    name: str
    sequential: bool = False  # one at a time in plan order, and a failure ends the run
    when: str = ""  # a variable that must be true
    groups: tuple[Group, ...] = ()


class Ready(Noun, frozen=True):
    """When a service may be used. At most one of http, tcp and log is set; none: at once."""

    http: str = ""  # a path on its port that answers below 400
    tcp: bool = False  # its port accepts a connection
    log: str = ""  # a regular expression that a line of its log matches
    timeout: float = 30.0


class Service(Noun, frozen=True):
    name: str
    kind: Literal["command", "postgres"] = "command"
    command: str | tuple[str, ...] | None = None
    env: dict[str, str] = {}
    directory: str = ""  # relative to the project; empty: the project
    ready: Ready = Ready()
    depends_on: tuple[str, ...] = ()  # services, those of its {other.port} included
    grace: float = 10.0


class Environment(Noun, frozen=True):
    """What ENVIRONMENT on the command line selects: variables, and which services are started."""

    name: str
    services: tuple[str, ...] = ()
    env: dict[str, str] = {}


class Variable(Noun, frozen=True):
    """A variable that the suite reads: checked before anything starts, and handed to the groups."""

    name: str
    type: Literal["text", "count", "switch"] = "text"
    default: str | None = None  # None: not set where nobody sets it
    description: str = ""


class Stage(Noun, frozen=True):
    """One stage of `cicd`. Exactly one of `command` and `suite` is set."""

    name: str
    command: str | tuple[str, ...] | None = None
    suite: bool = False


class Isolation(Noun, frozen=True):
    """An entry of [isolation.NAME]: `options` are those of its kind, checked when the plan was loaded."""

    name: str
    kind: Literal["tenant", "postgres", "redis", "ports", "tmpdir", "command"]
    reuse: bool = False
    check: bool = False
    options: dict[str, object] = {}


class Budget(Noun, frozen=True):
    """What requests are taken from, one by one, by any process. At least one of the two bounds is set."""

    name: str
    concurrent: int | None = None  # requests at the same time
    requests: int | None = None  # … in any `window`
    window: float = 1.0  # seconds


class Quarantine(Noun, frozen=True):
    """A group or a test whose failure does not count until the end of a day. Exactly one of the two is set."""

    reason: str
    expires: str  # the last day, YYYY-MM-DD
    group: str = ""
    test: str = ""  # an id, as the reports show it


class Plan(Noun, frozen=True):
    """What harness.toml describes, checked whole."""

    project: str  # absolute directory of harness.toml
    phases: tuple[Phase, ...]
    test_root: str = "."  # relative to the project
    secrets: tuple[str, ...] | None = None  # variables, or patterns of their names; None: those whose names say so
    log_dir: str = "logs"  # relative to the project, or absolute
    log_limit: int | None = 10**9  # bytes that an attempt, or a service, adds to its log at the most; None: no limit
    python: str = ""  # interpreter for pytest groups; empty: the harness's own
    max_parallel_jobs: int = 4
    global_timeout: float | None = None
    env_files: tuple[str, ...] = (".env",)
    env: dict[str, str] = {}
    resources: dict[str, int] = {}
    budgets: tuple[Budget, ...] = ()
    services: tuple[Service, ...] = ()
    environments: tuple[Environment, ...] = ()
    isolation: tuple[Isolation, ...] = ()
    pipeline: tuple[Stage, ...] = ()
    variables: tuple[Variable, ...] = ()
    flaky: Literal["pass", "fail"] = "pass"  # what a group that passed only when tried again means for the exit code
    quarantine: tuple[Quarantine, ...] = ()
    history_runs: int = 200  # how many runs the history keeps
    lock_files: tuple[str, ...] = ()  # files of the project that say which versions are installed
    written: tuple[str, ...] = ()  # the keys of [run] that harness.toml sets; the others have their defaults

    @property
    def groups(self) -> tuple[Group, ...]:
        return tuple(group for phase in self.phases for group in phase.groups)


class TestResult(Noun, frozen=True):
    """One test inside a group."""

    __test__ = False

    id: str  # pytest's node id, or whatever the command's own report calls it
    status: TestStatus
    duration: float
    message: str = ""  # one line
    details: str = ""  # traceback and captured output
    cpu_seconds: float | None = None  # of its process and that one's ended children; None: nobody measured it
    memory_growth: int | None = None  # by which it raised the peak of its process's memory; None: as above


class Job(Noun, frozen=True):
    """One attempt as data, before it is a process: picklable, so that it can run on any machine."""

    run_id: str
    group: str
    attempt: int  # from 1
    slot: int
    argv: tuple[str, ...]
    env: dict[str, str]  # the whole environment of the process
    directory: str
    log: str  # absolute path; the attempt appends to it
    timeout: float
    grace: float
    statuses: dict[int, Status]  # what an exit code means; any other is `failed`
    reports_tests: bool  # whether the process streams test events (harness/pytest_plugin)
    tests: tuple[str, ...] = ()  # the last words of `argv`, where pytest runs them
    process: Literal["group", "file"] = "group"  # as in Group
    warm: bool = False  # as in Group, and somebody could fork it
    results: str = ""  # as in Group
    isolate: tuple[str, ...] = ()  # as in Group
    workers: int = 0  # as in Group: each has environments of its own
    log_limit: int | None = None  # as in Plan
    part: str = ""  # of a splittable group: the file that runs

    @property
    def name(self) -> str:
        return part_name(self.group, self.part)

    @property
    def attempt_id(self) -> str:
        return f"{self.name}#{self.attempt}"


class Outcome(Noun, frozen=True):
    """What became of one attempt."""

    group: str
    attempt: int
    status: Status  # passed, failed, timed_out, killed, error, no_tests or interrupted
    started_at: float  # wall time
    duration: float
    exit_code: int | None = None  # None: it never started, or a signal ended it
    signal: int | None = None
    reason: str = ""  # one line, for people
    cpu_seconds: float = 0.0
    peak_memory: int = 0  # 0: not known
    leaked: bool = False  # a process of its own, or a lease, outlived it
    contaminates: tuple[str, ...] = ()  # what was touched while it ran that was not its own, and who else ran
    failed_tests: tuple[str, ...] = ()  # their ids, where these alone are why it `failed`
    part: str = ""  # as in Job

    @property
    def name(self) -> str:
        return part_name(self.group, self.part)

    @property
    def attempt_id(self) -> str:
        return f"{self.name}#{self.attempt}"


class GroupResult(Noun, frozen=True):
    """The final word on one group."""

    group: str
    status: Status
    reason: str = ""
    attempts: int = 0  # of its parts, that which took most
    started_at: float | None = None  # wall time; None: it never started
    duration: float = 0.0  # of all attempts together, those of parts that ran side by side included
    exit_code: int | None = None
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    leaked: bool = False
    contaminates: tuple[str, ...] = ()  # as in Outcome, of all attempts
    waited: dict[str, float] = {}  # before it started: "dependency", or what it lacked, as "slots" -> seconds
    quarantined: str = ""  # why its failure does not count; empty: it does
    cached_from: str = ""  # the run in which it passed, if it is `cached`

    @property
    def counts_as_failure(self) -> bool:
        """Whether it fails the run."""
        return self.status.is_failure and not self.quarantined

    @property
    def lets_others_start(self) -> bool:
        """Whether it counts as a success for what depends on it."""
        none_asked_for = self.status is Status.SKIPPED and self.attempts > 0
        return self.status.succeeded or none_asked_for or (self.status.is_failure and bool(self.quarantined))
