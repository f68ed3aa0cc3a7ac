"""What an attempt gets and gives back, with boxes as its environments."""

import fcntl
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from boxes import Boxes

from harness.errors import InfrastructureError
from harness.events import AnyEvent, LeaseEnded, LeaseMade, Warned
from harness.isolation import environments as module
from harness.isolation.environments import Environments
from harness.isolation.kept import kept_environment
from harness.isolation.lease import Capacity, Context
from harness.isolation.shared import Shared
from harness.masking import Secrets
from harness.model import Budget, Isolation, Job, Plan, Status
from harness.process import Control
from harness.pytest_plugin.harness_fixtures.budgets import known

ENV = {"HOME": "/", "PLATFORM_KEY": "secret", "ADMIN_URL": "postgresql://root:root@h"}


class Scene:
    """The environments of one run, whose kinds are boxes; `entries` are options of [isolation.NAME] by name."""

    def __init__(
        self,
        project: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        keep: bool = False,
        left_behind: Callable[[], bool] = lambda: False,
        **entries: dict[str, Any],
    ) -> None:
        self.kinds: dict[str, Boxes] = {}
        self.contexts: list[Context] = []
        self.events: list[AnyEvent] = []
        self.services = {"web": {"url": "http://127.0.0.1:1"}}
        common = ("reuse", "check")
        isolation = tuple(
            Isolation(
                name=name,
                kind="command",
                options={key: value for key, value in options.items() if key not in common},
                **{key: value for key, value in options.items() if key in common},
            )
            for name, options in entries.items()
        )

        def kind_of(entry: Isolation, context: Context, _services: object) -> Boxes:
            self.contexts.append(context)
            kind = self.kinds[entry.name] = Boxes(context, project / f"boxes-{entry.name}")
            kind.hidden = frozenset({"PLATFORM_KEY"})
            kind.wants_sentinel = bool(entry.options.get("sentinel"))
            return kind

        monkeypatch.setattr(module, "kind_of", kind_of)
        plan = Plan(
            project=str(project),
            phases=(),
            isolation=isolation,
            budgets=(Budget(name="api", concurrent=2),),
            resources={"heavy_resource": 3},
        )
        self.project = project
        self.secrets = Secrets()
        self.environments = Environments(
            plan,
            list(entries),
            run_id="20260101_000000",
            variables=lambda: {"OF_THE_RUN": "run-wide"},
            services=self.services,
            notify=self.events.append,
            keep=keep,
            left_behind=left_behind,
            secrets=self.secrets,
        )

    def job(self, group: str = "g", attempt: int = 1, *, isolate: tuple[str, ...] | None = None, **fields: Any) -> Job:
        return Job(
            run_id="20260101_000000",
            group=group,
            attempt=attempt,
            slot=0,
            argv=("true",),
            directory="/",
            log="/dev/null",
            timeout=1.0,
            grace=1.0,
            statuses={0: Status.PASSED},
            isolate=tuple(self.environments._entries) if isolate is None else isolate,
            **{"reports_tests": True, "env": ENV} | fields,
        )

    def start(self) -> "Scene":
        self.environments.open()
        self.environments.ready()
        return self

    def boxes(self, name: str = "box") -> set[str]:
        return self.kinds[name].inventory

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def is_clean(self) -> bool:
        places = [self.project / ".harness" / name for name in ("leases", "shared")]
        return not any(path for place in places if place.exists() for path in place.iterdir())


Make = Callable[..., Scene]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    made: list[Scene] = []

    def make(**options: Any) -> Scene:
        made.append(Scene(tmp_path, monkeypatch, **options))
        return made[-1]

    yield make
    for it in made:
        for kind in it.kinds.values():
            kind.fails.clear()
        it.environments.close()


def test_a_group_gets_its_variables_and_nothing_that_reaches_further(scene: Make) -> None:
    it = scene(box={"dsn": "${ADMIN_URL}"})
    it.start()
    inside = it.environments.enter(it.job(), Control())
    (made,) = it.told(LeaseMade)
    assert inside.env["BOX"] == f"box-{made.token}"
    assert {"PLATFORM_KEY", "ADMIN_URL"}.isdisjoint(inside.env)
    assert json.loads(inside.env["HARNESS_LEASES"]) == [
        {"entry": "box", "kind": "command", "roles": {}, "variables": ["BOX"]}
    ]
    assert Path(inside.env["HARNESS_SHARED"]).is_dir()
    assert (made.group, made.attempt) == ("g", 1)
    assert it.environments.hidden == {"PLATFORM_KEY", "ADMIN_URL"}
    assert it.environments.leave(inside, Status.FAILED) == (False, ())
    assert it.boxes() == set()
    it.environments.close()
    assert it.is_clean()


def test_a_group_that_isolates_nothing_keeps_what_the_run_has(scene: Make) -> None:
    it = scene().start()
    inside = it.environments.enter(it.job(), Control())
    assert inside.env["PLATFORM_KEY"] == "secret"
    assert "HARNESS_LEASES" not in inside.env
    assert Path(inside.env["HARNESS_BUDGETS"]).is_dir()
    it.environments.leave(inside, Status.PASSED)


def test_what_one_entry_cannot_make_takes_the_others_down(scene: Make) -> None:
    it = scene(box={}, bad={}).start()
    it.kinds["bad"].fails.add("make")
    with pytest.raises(InfrastructureError, match=r"\[isolation.bad\] could not be made"):
        it.environments.enter(it.job(), Control())
    assert it.boxes() == it.boxes("bad") == set()
    it.environments.close()
    assert it.is_clean()


def test_the_last_made_is_released_first(scene: Make) -> None:
    it = scene(first={}, second={}).start()
    inside = it.environments.enter(it.job(), Control())
    it.environments.leave(inside, Status.PASSED)
    assert [event.entry for event in it.told(LeaseEnded)] == ["second", "first"]


def test_a_reused_lease_goes_from_group_to_group_but_not_from_one_that_failed(scene: Make) -> None:
    it = scene(box={"reuse": True}).start()

    def box_of(group: str, status: Status) -> str:
        inside = it.environments.enter(it.job(group), Control())
        it.environments.leave(inside, status)
        return inside.env["BOX"]

    first = box_of("a", Status.PASSED)
    assert box_of("b", Status.FAILED) == first
    assert box_of("c", Status.PASSED) != first
    assert len(it.boxes()) == 2  # of a box and a lid
    it.environments.close()
    assert it.boxes() == set()


def test_two_at_once_never_share_a_reused_lease(scene: Make) -> None:
    it = scene(box={"reuse": True}).start()
    inside = [it.environments.enter(it.job(name), Control()) for name in "ab"]
    assert inside[0].env["BOX"] != inside[1].env["BOX"]
    for one in inside:
        it.environments.leave(one, Status.PASSED)


def test_each_worker_of_xdist_has_its_own(scene: Make) -> None:
    it = scene(box={}).start()
    inside = it.environments.enter(it.job(workers=3), Control())
    directory = Path(inside.env["HARNESS_WORKERS"])
    given = [json.loads(path.read_text()) for path in sorted(directory.iterdir())]
    assert [path.name for path in sorted(directory.iterdir())] == ["0.json", "1.json", "2.json"]
    assert len({worker["BOX"] for worker in given}) == 3
    assert inside.env["BOX"] == given[0]["BOX"]
    assert all("HARNESS_LEASES" in worker for worker in given)
    assert all(path.stat().st_mode & 0o077 == 0 for path in directory.iterdir())
    it.environments.leave(inside, Status.PASSED)
    assert it.boxes() == set()


def test_what_is_asked_to_stop_gets_nothing_more(scene: Make) -> None:
    it = scene(box={}).start()
    control = Control()
    control.cancel()
    inside = it.environments.enter(it.job(), control)
    assert it.boxes() == set()
    assert it.environments.leave(inside, Status.INTERRUPTED) == (False, ())


def test_a_lease_that_stays_makes_its_group_leaked(scene: Make) -> None:
    it = scene(box={}).start()
    inside = it.environments.enter(it.job(), Control())
    it.kinds["box"].fails.add("release")
    assert it.environments.leave(inside, Status.PASSED).leaked


@pytest.mark.parametrize("status", [Status.FAILED, Status.TIMED_OUT, Status.KILLED])
def test_the_environment_of_a_failure_is_kept_where_asked(scene: Make, status: Status, tmp_path: Path) -> None:
    it = scene(keep=True, box={}).start()
    inside = it.environments.enter(it.job(), Control())
    assert not it.environments.leave(inside, status).leaked
    it.environments.close()
    assert len(it.boxes()) == 2
    kept = kept_environment(tmp_path, "g")
    assert kept is not None
    assert (kept.env, kept.directory) == (inside.env, "/")
    assert "is kept: `enter g` opens it" in it.told(Warned)[0].message
    again = scene(box={}).start()
    assert len(again.boxes()) == 2  # the next run leaves it alone


@pytest.mark.parametrize("content", [b"", b'{"group": "g"', b'{"group": "\xff"}', b"[]", b'{"x":' + b"[" * 100_000])
def test_a_torn_file_of_a_kept_environment_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".harness/kept").mkdir(parents=True)
    (tmp_path / ".harness/kept/g.json").write_bytes(content)
    assert kept_environment(tmp_path, "g") is None


def test_the_command_that_opens_a_kept_environment_can_be_pasted(scene: Make) -> None:
    it = scene(keep=True, box={}).start()
    it.environments.leave(it.environments.enter(it.job(part="a b.py"), Control()), Status.FAILED)
    assert "is kept: `enter 'g/a b.py'` opens it" in it.told(Warned)[0].message


def test_parts_of_one_group_have_their_own_and_keep_their_own(scene: Make, tmp_path: Path) -> None:
    it = scene(keep=True, box={}).start()
    inside = [it.environments.enter(it.job(part=part), Control()) for part in ("a.py", "b.py", "c.py")]
    assert len({one.env["BOX"] for one in inside}) == 3
    assert [(made.group, made.part) for made in it.told(LeaseMade)] == [("g", "a.py"), ("g", "b.py"), ("g", "c.py")]
    for one, status in zip(inside, (Status.FAILED, Status.FAILED, Status.PASSED), strict=True):
        it.environments.leave(one, status)
    kept = {part: kept_environment(tmp_path, f"g/{part}") for part in ("a.py", "b.py", "c.py")}
    assert [each and each.env["BOX"] for each in kept.values()] == [inside[0].env["BOX"], inside[1].env["BOX"], None]
    assert kept["a.py"]
    assert kept["a.py"].group == "g/a.py"
    assert "is kept: `enter g/a.py` opens it" in it.told(Warned)[0].message
    assert [(ended.part, ended.ending) for ended in it.told(LeaseEnded)] == [
        ("a.py", "kept"),
        ("b.py", "kept"),
        ("c.py", "released"),
    ]
    again = it.environments.enter(it.job(part="a.py", attempt=2), Control())
    it.environments.leave(again, Status.PASSED)
    assert [kept_environment(tmp_path, f"g/{part}") is None for part in ("a.py", "b.py")] == [True, False]


def test_of_several_attempts_only_the_last_is_kept_and_none_if_that_passed(scene: Make, tmp_path: Path) -> None:
    it = scene(keep=True, box={}).start()

    def ends(attempt: int, status: Status) -> str:
        inside = it.environments.enter(it.job(attempt=attempt), Control())
        it.environments.leave(inside, status)
        return inside.env["BOX"]

    ends(1, Status.FAILED)
    last = ends(2, Status.FAILED)
    assert it.boxes() == {last, last.replace("box", "lid")}
    ends(3, Status.PASSED)
    assert it.boxes() == set()
    assert kept_environment(tmp_path, "g") is None


def test_two_runs_of_one_second_do_not_share_a_meeting_place(scene: Make) -> None:
    first, second = scene().start(), scene().start()
    assert first.environments._shared.directory != second.environments._shared.directory
    assert second.environments._shared.directory.is_dir()


def test_what_was_made_at_another_address_is_not_looked_for_here(scene: Make) -> None:
    there = scene(box={"dsn": "postgresql://there"}).start()
    there.environments.enter(there.job(), Control())
    leases = there.environments._leases
    assert leases is not None
    fcntl.flock(leases._journal._descriptor, fcntl.LOCK_UN)
    leases._out.clear()
    here = scene(box={"dsn": "postgresql://here"}).start()
    assert len(here.boxes()) == 2
    (warned,) = here.told(Warned)
    assert "call gc in the environment in which that run was" in warned.message


def test_a_project_that_cannot_be_written_is_no_matter_to_groups_without_environments(
    scene: Make, tmp_path: Path
) -> None:
    (tmp_path / ".harness").write_text("in the way")
    it = scene()
    it.environments._plan = Plan(project=str(tmp_path), phases=())
    it.start()
    inside = it.environments.enter(it.job(), Control())
    assert Path(inside.env["HARNESS_SHARED"]).is_dir()
    it.environments.leave(inside, Status.PASSED)
    it.environments.close()
    assert not Path(inside.env["HARNESS_SHARED"]).exists()


@pytest.mark.parametrize("status", [Status.PASSED, Status.INTERRUPTED, Status.NO_TESTS])
def test_what_did_not_fail_is_not_kept(scene: Make, status: Status) -> None:
    it = scene(keep=True, box={}).start()
    it.environments.leave(it.environments.enter(it.job(), Control()), status)
    assert it.boxes() == set()


def test_what_ends_with_a_service_of_the_run_cannot_be_kept(scene: Make) -> None:
    it = scene(keep=True, box={"base_url": "{web.url}"}).start()
    it.environments.leave(it.environments.enter(it.job(), Control()), Status.FAILED)
    assert it.boxes() == set()
    assert "the environment of g is not kept: it ends with the service web of this run" in it.told(Warned)[0].message


def test_the_next_run_removes_what_a_dead_one_left(scene: Make) -> None:
    dead = scene(box={}).start()
    dead.environments.enter(dead.job(), Control())
    # As if its process had been killed: the kernel lets go of the locks, and nobody cleans up.
    leases, shared = dead.environments._leases, dead.environments._shared
    assert leases is not None
    fcntl.flock(leases._journal._descriptor, fcntl.LOCK_UN)
    fcntl.flock(shared._lock, fcntl.LOCK_UN)
    leases._out.clear()
    dead.environments._leases = None
    again = scene(box={}).start()
    assert again.boxes() == set()
    assert [event.message for event in again.told(Warned)] == [
        "removed what earlier runs had left behind: 1 of [isolation.box]"
    ]
    assert list((again.project / ".harness" / "shared").iterdir()) == [again.environments._shared.directory]


def test_a_checked_group_is_told_of_what_it_touched(scene: Make) -> None:
    it = scene(box={"check": True, "sentinel": True}).start()
    assert [event.group for event in it.told(LeaseMade)] == [""]
    inside = it.environments.enter(it.job(), Control())
    it.kinds["box"].seen["table users"] = "1 row"
    it.kinds["box"].leftovers = lambda lease: [f"a lid is off {lease.details['box'][:3]}"]  # type: ignore[method-assign]
    left = it.environments.leave(inside, Status.PASSED)
    assert left.contaminates == ("a lid is off box", "table users: is new: 1 row (no other group ran)")
    it.environments.close()
    assert it.boxes() == set()


@pytest.mark.parametrize("checked", [True, False])
def test_a_process_that_is_left_running_is_ended_and_a_leak(scene: Make, checked: bool) -> None:
    it = scene(box={"check": checked}, left_behind=lambda: True).start()
    marks = {"HARNESS_RUN_DIR": str(it.project / "run_1"), "HARNESS_GROUP": "g", "HARNESS_ATTEMPT": "1"}
    job = it.job(env={"HOME": "/", **marks})
    inside = it.environments.enter(job, Control())
    left = subprocess.Popen(["sleep", "1000"], env=inside.env, start_new_session=True)
    stranger = subprocess.Popen(["sleep", "1000"], env=inside.env | {"HARNESS_ATTEMPT": "2"}, start_new_session=True)
    how = it.environments.leave(inside, Status.PASSED)
    assert how.leaked
    assert left.wait() == 0  # psutil has reaped it
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
    told = how.contaminates if checked else tuple(warning.message for warning in it.told(Warned))
    assert len(told) == 1
    assert f"process {left.pid} (sleep 1000), in a session of its own" in told[0]


def test_nobody_looks_for_processes_where_none_was_left_behind(scene: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    it = scene(box={}).start()
    monkeypatch.delattr(module, "leftovers")
    assert not it.environments.leave(it.environments.enter(it.job(), Control()), Status.PASSED).leaked


def test_a_process_that_nobody_can_end_is_told(scene: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    it = scene(box={"check": True}).start()
    monkeypatch.setattr(module, "leftovers", lambda _marks: ["process 7 (immortal), started 1 s before"])
    monkeypatch.setattr(module, "end", lambda _marks: ["process 7 (immortal)"])  # no real process is
    assert it.environments.leave(it.environments.enter(it.job(), Control()), Status.PASSED).leaked
    assert [warning.message for warning in it.told(Warned)] == [
        "g left process 7 (immortal) running, and it could not be ended"
    ]


def test_a_test_that_is_to_run_alone_waits_for_groups_that_are_no_pytest(scene: Make) -> None:
    it = scene().start()
    inside = it.environments.enter(it.job(reports_tests=False), Control())
    alone = Path(inside.env["HARNESS_SHARED"], "alone")
    assert inside.env["HARNESS_WITHIN"] == inside.env["HARNESS_SHARED"]
    assert not is_free(alone)
    it.environments.leave(inside, Status.PASSED)
    assert is_free(alone)


def is_free(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_the_budgets_of_the_plan_are_there_before_the_first_group(scene: Make) -> None:
    it = scene().start()
    inside = it.environments.enter(it.job(), Control())
    assert known(inside.env["HARNESS_BUDGETS"]) == ["api"]
    assert inside.env["HARNESS_HEAVY"] == "3"
    it.environments.leave(inside, Status.PASSED)


@pytest.mark.parametrize(
    ("plan", "heavy"),
    [({"resources": {"heavy_resource": 2}}, "2"), ({"budgets": (Budget(name="heavy_resource", concurrent=4),)}, "4")],
)
def test_how_many_heavy_tests_there_may_be(tmp_path: Path, plan: dict[str, Any], heavy: str) -> None:
    shared = Shared(tmp_path, "20260101_000000")
    assert shared.open(Plan(project=str(tmp_path), phases=(), **plan), needed=False)["HARNESS_HEAVY"] == heavy
    shared.close()


def test_an_unchecked_group_is_not_looked_at(scene: Make) -> None:
    it = scene(box={}).start()
    inside = it.environments.enter(it.job(), Control())
    it.kinds["box"].seen["table users"] = "1 row"
    assert it.environments.leave(inside, Status.PASSED).contaminates == ()


def test_capacities_are_those_of_the_kinds_that_have_one(scene: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    it = scene(box={}, other={})
    it.environments.open()
    monkeypatch.setattr(Boxes, "capacity", lambda kind: Capacity(3, "3 boxes") if "other" in str(kind.place) else None)
    assert it.environments.ready() == {"other": Capacity(3, "3 boxes")}
    assert it.contexts[0].variables == {"OF_THE_RUN": "run-wide"}


def test_a_project_that_cannot_be_written_is_refused_before_anything_starts(scene: Make, tmp_path: Path) -> None:
    (tmp_path / ".harness").write_text("in the way")
    with pytest.raises(InfrastructureError, match="cannot make"):
        scene(box={}).environments.open()


def test_the_platforms_key_is_a_secret_whatever_its_variable_is_called(scene: Any) -> None:
    made = scene(box={"key_variable": "OF_THE_RUN"})
    made.start()
    assert made.secrets.text("run-wide") == "***"
    made.environments.close()
