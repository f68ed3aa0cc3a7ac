"""Literal histories: what the runs of the past left in the history, and what it says of flakiness."""

from dataclasses import dataclass, field

from harness.model import Status, TestStatus
from harness.past import PastGroup, PastRun, PastTest
from harness.statistics.flaky import Flakiness, Report, flakiness

STATUS = {"P": Status.PASSED, "F": Status.FAILED, "~": Status.FLAKY}
TEST_STATUS = {"P": TestStatus.PASSED, "F": TestStatus.FAILED}


@dataclass
class Past:
    """A history, run by run; a second lies between two runs unless `at` says when."""

    runs: list[PastRun] = field(default_factory=list)
    groups: list[PastGroup] = field(default_factory=list)
    tests: list[PastTest] = field(default_factory=list)

    def run(self, commit: str = "", *, dirty: bool = False, at: float | None = None, **groups: str) -> "Past":
        """run("c1", search="F"): a run in which the group `search` failed."""
        number = len(self.runs)
        self.runs.append(a_run(f"run{number}", commit, dirty, 1e9 + number if at is None else at))
        for name, status in groups.items():
            self.group(name, STATUS[status])
        return self

    def group(self, name: str, status: Status, duration: float = 10.0, **more: object) -> "Past":
        """Adds to the latest run."""
        attempts = 2 if status is Status.FLAKY else 1
        fields = {"attempts": attempts, "partial": False, "error": ""} | more
        self.groups.append(a_group(self.runs[-1].key, name, status, duration, **fields))
        return self

    def test(self, group: str, name: str, attempts: str, error: str = "") -> "Past":
        """test("search", "test_a", "FP"): in the latest run it failed and then passed."""
        for attempt, letter in enumerate(attempts, 1):
            self.verdict(group, name, attempt, TEST_STATUS[letter], error if letter == "F" else "")
        return self

    def verdict(self, group: str, name: str, attempt: int, status: TestStatus, error: str = "") -> "Past":
        key = self.runs[-1].key
        self.tests.append(
            PastTest(run=key, group=group, attempt=attempt, test=name, status=status, duration=1.0, error=error)
        )
        return self

    @property
    def report(self) -> Report:
        return flakiness(self.runs, self.groups, self.tests)

    def of(self, group: str, test: str = "") -> Flakiness:
        (item,) = (item for item in self.report.items if item.item == (group, test))
        return item


def a_run(key: str, commit: str, dirty: bool, started_at: float) -> PastRun:
    return PastRun(
        key=key,
        run_id=key,
        started_at=started_at,
        commit=commit,
        dirty=dirty,
        host="host",
        cores=4,
        jobs=4,
        seed=0,
        shard="",
        environment="local",
        duration=20.0,
        exit_code=0,
        stopped_by="",
        sequential_time=20.0,
        lower_bound=10.0,
        predicted=None,
        services_seconds=0.0,
        wind_down=0.0,
        groups=1,
        failed=0,
    )


def a_group(run: str, name: str, status: Status, duration: float, **more: object) -> PastGroup:
    return PastGroup(
        run=run,
        group=name,
        started_at=0.0,
        duration=duration,
        slot=0,
        status=status,
        cpu_seconds=0.0,
        peak_memory=0,
        quarantined=False,
        waited=0.0,
        **more,  # type: ignore[arg-type]
    )
