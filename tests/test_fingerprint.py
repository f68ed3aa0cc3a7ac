"""When a group need not run: what a fingerprint sees, what it does not, and how a difference is told."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.fingerprint import Fingerprint, Fingerprints, cached_groups, explain, store_passes, take
from harness.model import (
    Environment,
    Group,
    GroupResult,
    Isolation,
    Phase,
    Plan,
    Quarantine,
    Ready,
    Service,
    Status,
    Variable,
)
from harness.past import StoredFingerprint

API = Group(
    name="api",
    phase="p",
    tests=("api/test_a.py", "api/test_b.py::TestB"),
    inputs=("src/**/*.py", "data.json"),
    env={"LEVEL": "debug"},
    services=("db", "web"),
    isolate=("tenant",),
)
BUILD = Group(name="build", phase="p", command="make", inputs=("Makefile",))
UNKNOWN = Group(name="unknown", phase="p", command="make")
WEB = Service(name="web", command="serve", env={"A": "1"})
TENANT = Isolation(name="tenant", kind="tmpdir", options={"home": False})
FILES = {
    "it/api/test_a.py": "a",
    "it/api/test_b.py": "b",
    "it/conftest.py": "c",
    "src/x.py": "x",
    "src/deep/y.py": "y",
    "data.json": "{}",
    "Makefile": "all:",
    "uv.lock": "1",
}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    for name, content in FILES.items():
        write(tmp_path, name, content)
    return Plan(
        project=str(tmp_path),
        test_root="it",
        phases=(Phase(name="p", groups=(API, BUILD, UNKNOWN)),),
        services=(Service(name="db", kind="postgres"), WEB, Service(name="other", command="x")),
        environments=(Environment(name="local", services=("db", "web", "other")), Environment(name="staging")),
        isolation=(TENANT, Isolation(name="other", kind="ports")),
        variables=(Variable(name="COUNT", default="5"), Variable(name="SECRET")),
        env={"URL": "http://{web.host}"},
    )


def write(project: Path, name: str, content: str) -> None:
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text(content)


def of(plan: Plan, group: str = "api", environment: str = "local", **shell: str) -> Fingerprint:
    return Fingerprints(plan, environment, shell, {}).of(group)


def with_group(plan: Plan, **changes: Any) -> Plan:
    """The plan with another `api`."""
    groups = (msgspec.structs.replace(API, **changes), BUILD, UNKNOWN)
    return msgspec.structs.replace(plan, phases=(Phase(name="p", groups=groups),))


def replaced(plan: Plan, **changes: Any) -> Plan:
    return msgspec.structs.replace(plan, **changes)


def stored(fingerprint: Fingerprint) -> StoredFingerprint:
    return StoredFingerprint(digest=fingerprint.digest, parts=fingerprint.parts, run="20261120_101112", at=1.0)


def why(before: Fingerprint, now: Fingerprint) -> str:
    verdict = explain(stored(before), now)
    assert not verdict.cached
    return verdict.why


def test_nothing_changed(plan: Plan) -> None:
    verdict = explain(stored(of(plan)), of(plan))
    assert (verdict.cached, verdict.why) == (True, "unchanged since run 20261120_101112")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("it/api/test_a.py", "A", "it/api/test_a.py changed"),
        ("it/api/test_b.py", "B", "it/api/test_b.py changed"),
        ("it/conftest.py", "C", "it/conftest.py changed"),
        ("src/x.py", "X", "src/x.py changed"),
        ("data.json", "{} ", "data.json changed"),
        ("uv.lock", "2", "uv.lock changed"),
        ("src/z.py", "", "src/z.py is new"),
        ("it/api/conftest.py", "", "it/api/conftest.py is new"),
        ("pyproject.toml", "", "pyproject.toml is new"),
        ("requirements.txt", "", "requirements.txt is new"),
        ("src/x.py", None, "src/x.py is gone"),
        ("src/deep/y.py", None, "src/deep/y.py is gone"),
        ("uv.lock", None, "uv.lock is gone"),
    ],
)
def test_files_that_count(plan: Plan, name: str, content: str | None, said: str) -> None:
    before = of(plan)
    if content is None:
        Path(plan.project, name).unlink()
    else:
        write(Path(plan.project), name, content)
    assert why(before, of(plan)) == said


@pytest.mark.parametrize(
    "name", ["it/web/test_w.py", "it/web/conftest.py", "Makefile", "src/x.txt", "src/.hidden.py", "README.md"]
)
def test_files_that_do_not_count(plan: Plan, name: str) -> None:
    before = of(plan)
    write(Path(plan.project), name, "new")
    assert of(plan) == before


def test_times_do_not_count_and_content_behind_a_link_does(plan: Plan) -> None:
    target = Path(plan.project, "elsewhere.txt")
    target.write_text("one")
    Path(plan.project, "src/linked.py").symlink_to(target)
    before = of(plan)
    os.utime(target, (1, 1))
    assert of(plan) == before
    target.write_text("two")
    os.utime(target, (1, 1))
    assert why(before, of(plan)) == "src/linked.py changed"


def test_a_name_that_is_not_utf_8_can_be_stored(plan: Plan) -> None:
    name = os.fsdecode(b"src/\xff.py")
    write(Path(plan.project), name, "one")
    before = of(plan)
    assert msgspec.json.decode(msgspec.json.encode(before.parts)) == before.parts
    write(Path(plan.project), name, "two")
    assert why(before, of(plan)) == "src/\\xff.py changed"


def test_what_the_harness_writes_does_not_count(plan: Plan) -> None:
    for log_dir in ("logs", "./logs/", str(Path(plan.project, "logs"))):
        greedy = replaced(with_group(plan, inputs=("**",)), log_dir=log_dir)
        before = of(greedy)
        write(Path(plan.project), f"logs/run/{len(log_dir)}.json", "new")
        assert of(greedy) == before
        assert "file src/x.py" in before.parts


def test_a_file_that_cannot_be_read_is_not_known(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def refuse(path: Path, *arguments: Any) -> Any:
        if path.name == "x.py":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments)

    monkeypatch.setattr(Path, "open", refuse)
    now = of(plan)
    assert now.unknown == "cannot be judged: src/x.py cannot be read"
    assert not explain(stored(now), now).cached


def test_a_test_file_that_has_gone_meanwhile_is_not_known(plan: Plan) -> None:
    Path(plan.project, "it/api/test_a.py").unlink()
    assert of(plan).unknown == "cannot be judged: it/api/test_a.py cannot be read"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plan: with_group(plan, tests=("api/test_a.py", "api/test_b.py")), "key tests changed"),
        (lambda plan: with_group(plan, tests=("api/test_b.py::TestB", "api/test_a.py")), "key tests changed"),
        (lambda plan: with_group(plan, workers=2), "key workers changed"),
        (lambda plan: with_group(plan, workers=2, dist="load"), "2 keys changed: dist and workers"),
        (lambda plan: with_group(plan, splittable=True), "key splittable changed"),
        (lambda plan: with_group(plan, process="file"), "key process changed"),
        (lambda plan: with_group(plan, inputs=("src/**", "data.json")), "key inputs changed"),
        (lambda plan: with_group(plan, results="junit:x.xml"), "key results changed"),
        (lambda plan: with_group(plan, command="make"), "key command changed"),
        (lambda plan: with_group(plan, env={"LEVEL": "info"}), "variable LEVEL changed"),
        (lambda plan: with_group(plan, env={}), "variable LEVEL changed"),
        (lambda plan: with_group(plan, services=("db",)), "variable URL changed; service web changed"),
        (lambda plan: with_group(plan, isolate=()), "isolation tenant changed"),
        (lambda plan: replaced(plan, env={"URL": "x", "MORE": "y"}), "2 variables changed: MORE and URL"),
        (
            lambda plan: replaced(plan, variables=(Variable(name="COUNT", default="6"),)),
            "2 variables changed: COUNT and SECRET",
        ),
        (lambda plan: replaced(plan, services=(WEB,)), "service db changed"),
        (
            lambda plan: replaced(plan, services=(*plan.services[:1], msgspec.structs.replace(WEB, env={}))),
            "service web changed",
        ),
        (
            lambda plan: replaced(plan, isolation=(msgspec.structs.replace(TENANT, options={"home": True}),)),
            "isolation tenant changed",
        ),
        (lambda plan: replaced(plan, lock_files=("Makefile",)), "Makefile is new; uv.lock is gone"),
        (lambda plan: replaced(plan, python="/nowhere/python"), "passed with another Python"),
    ],
)
def test_what_counts_in_the_plan(plan: Plan, change: Callable[[Plan], Plan], said: str) -> None:
    assert why(of(plan), of(change(plan))) == said


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: with_group(
            plan, timeout=1.0, grace=2.0, retries=3, slots=4, category="x", description="y", needs={"stripe": 1}
        ),
        lambda plan: replaced(plan, max_parallel_jobs=9, global_timeout=5.0, history_runs=7, flaky="fail"),
        lambda plan: replaced(plan, services=(*plan.services[:2], Service(name="other", command="y"))),
        lambda plan: replaced(
            plan, services=(plan.services[0], msgspec.structs.replace(WEB, grace=1.0, ready=Ready(tcp=True)))
        ),
        lambda plan: replaced(plan, isolation=(TENANT,)),
    ],
)
def test_what_does_not_count_in_the_plan(plan: Plan, change: Callable[[Plan], Plan]) -> None:
    assert of(change(plan)) == of(plan)


def test_variables_count_where_the_plan_names_them(plan: Plan) -> None:
    before = of(plan)
    assert of(plan, PATH="/x", HOME="/y", MAX_PARALLEL_JOBS="9") == before
    assert why(before, of(plan, LEVEL="info")) == "variable LEVEL changed"
    assert why(before, of(plan, SECRET="")) == "variable SECRET changed"
    assert of(plan, LEVEL="debug", COUNT="5") == before
    from_file = Fingerprints(plan, "local", {}, {"TOKEN": "t"}).of("api")
    assert why(before, from_file) == "variable TOKEN changed"
    assert Fingerprints(plan, "local", {"TOKEN": "u"}, {"TOKEN": "t"}).of("api") != from_file


def test_the_order_of_a_table_does_not_count(plan: Plan) -> None:
    def ordered(*names: str) -> Fingerprint:
        service = msgspec.structs.replace(WEB, env=dict.fromkeys(names, "1"))
        isolation = msgspec.structs.replace(TENANT, options={name: {"x": 1} for name in names})
        return of(replaced(plan, services=(service,), isolation=(isolation,)))

    assert ordered("A", "B") == ordered("B", "A") != ordered("A", "C")


def test_no_value_of_a_variable_stands_in_a_fingerprint(plan: Plan) -> None:
    fingerprint = of(plan, SECRET="hunter2-the-platform-key")
    assert "hunter2" not in repr(fingerprint)
    assert fingerprint.parts["variable SECRET"] != of(plan, SECRET="other").parts["variable SECRET"]


def test_a_variable_that_is_not_utf_8_has_a_hash_too(plan: Plan) -> None:
    value = os.fsdecode(b"\xff")
    assert of(plan, LEVEL=value).parts["variable LEVEL"] != of(plan, LEVEL="\ufffd").parts["variable LEVEL"]


def test_a_pass_in_another_environment_counts_for_nothing(plan: Plan) -> None:
    assert why(of(plan), of(plan, environment="staging")).endswith("passed in another environment")


def test_the_migrations_of_its_environment_count(plan: Plan) -> None:
    write(Path(plan.project), "sql/1.sql", "create table a ()")
    database = msgspec.structs.replace(TENANT, options={"migrations": ["sql/*.sql"]})
    plan = replaced(plan, isolation=(database,))
    before = of(plan)
    write(Path(plan.project), "sql/1.sql", "create table b ()")
    assert why(before, of(plan)) == "sql/1.sql changed"


def test_services_that_the_environment_does_not_start_do_not_count(plan: Plan) -> None:
    other = replaced(plan, services=(msgspec.structs.replace(WEB, command="other"),))
    assert why(of(plan), of(other)) == "2 services changed: db and web"
    assert of(other, environment="staging") == of(plan, environment="staging")


def test_another_platform_is_told(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    before = of(plan)
    monkeypatch.setattr(sys, "platform", "plan9")
    assert why(before, of(plan)) == "passed on another platform"


def test_the_interpreter_of_the_tests_is_known_by_its_content_and_its_version(plan: Plan, tmp_path: Path) -> None:
    plan = replaced(plan, python="venv/bin/python")
    write(tmp_path, "venv/bin/python", "program")
    write(tmp_path, "venv/pyvenv.cfg", "home = /usr/bin\nversion = 3.11.2\n")
    before = of(plan)
    write(tmp_path, "venv/pyvenv.cfg", "home = /opt/bin\nversion = 3.11.2\n")
    assert of(plan) == before
    write(tmp_path, "venv/pyvenv.cfg", "home = /usr/bin\nversion = 3.12.0\n")
    assert why(before, of(plan)) == "passed with another Python"
    write(tmp_path, "venv/pyvenv.cfg", "version = 3.11.2\n")
    write(tmp_path, "venv/bin/python", "another program")
    assert why(before, of(plan)) == "passed with another Python"


def test_several_differences_are_told_together_and_long_lists_cut(plan: Plan) -> None:
    before = of(plan)
    for name in ("it/api/test_a.py", "it/conftest.py", "data.json", "src/x.py", "src/deep/y.py"):
        write(Path(plan.project), name, "changed")
    write(Path(plan.project), "src/m.py", "")
    write(Path(plan.project), "src/n.py", "")
    assert why(before, of(with_group(plan, env={}))) == (
        "5 files changed: data.json, it/api/test_a.py, it/conftest.py and 2 more; "
        "2 files are new: src/m.py and src/n.py; variable LEVEL changed"
    )


def test_a_new_test_file_is_told_once(plan: Plan) -> None:
    before = of(plan)
    write(Path(plan.project), "it/api/test_c.py", "")
    assert why(before, of(with_group(plan, tests=(*API.tests, "api/test_c.py")))) == "it/api/test_c.py is new"


def test_a_fingerprint_of_another_format_is_worth_nothing(plan: Plan) -> None:
    now = of(plan)
    old = msgspec.structs.replace(stored(now), digest="old", parts=now.parts | {"format": "0"})
    assert explain(old, now).why == "its fingerprint is of another version of the harness"


def test_what_is_not_known_runs(plan: Plan) -> None:
    now = of(plan)
    assert explain(None, now).why == "has not passed since its inputs were named"
    assert explain(None, of(plan, "unknown")).why == "names no inputs, so nobody knows what it depends on"
    watched = replaced(plan, quarantine=(Quarantine(reason="x", expires="2999-01-01", group="api"),))
    assert explain(stored(now), of(watched)).why == "is in quarantine, where it is watched"


class Memory:
    """A history that keeps fingerprints alone."""

    def __init__(self) -> None:
        self.kept: dict[str, StoredFingerprint] = {}

    def store_fingerprint(self, group: str, digest: str, parts: dict[str, str], run_id: str, at: float) -> None:
        self.kept[group] = StoredFingerprint(digest=digest, parts=parts, run=run_id, at=at)

    store_pass = store_fingerprint


def passing(
    plan: Plan, store: Memory, meanwhile: Callable[[], object] = lambda: None, **result: Any
) -> Mapping[str, str]:
    """A run in which `api` and `build` end with such a result, while something happens."""
    fingerprints = Fingerprints(plan, "local", {}, {})
    taken = take(fingerprints, plan.groups)
    meanwhile()
    results = [GroupResult(group=name, **{"status": Status.PASSED} | result) for name in ("api", "build", "unknown")]
    return store_passes(store, results, taken, fingerprints.again(), run_id="r1", at=5.0)


def cached(plan: Plan, store: Memory) -> dict[str, str]:
    return cached_groups(take(Fingerprints(plan, "local", {}, {}), plan.groups), store.kept)


def test_after_a_pass_what_can_be_is_cached_and_one_input_makes_its_groups_run(plan: Plan) -> None:
    store = Memory()
    assert cached(plan, store) == {}
    assert passing(plan, store) == {}
    assert cached(plan, store) == {"api": "r1", "build": "r1"}
    write(Path(plan.project), "src/x.py", "changed")
    assert cached(plan, store) == {"build": "r1"}
    write(Path(plan.project), "src/x.py", FILES["src/x.py"])
    assert cached(plan, store) == {"api": "r1", "build": "r1"}


def test_what_was_edited_while_it_ran_was_not_tested(plan: Plan) -> None:
    store = Memory()
    moved = passing(plan, store, lambda: write(Path(plan.project), "src/x.py", "edited"))
    assert moved == {"api": "src/x.py changed"}
    assert cached(plan, store) == {"build": "r1"}
    moved = passing(plan, store, lambda: Path(plan.project, "it/api/test_a.py").unlink())
    assert moved == {"api": "cannot be judged: it/api/test_a.py cannot be read"}


CONTRADICTING = {status for status in Status if status.is_failure} | {Status.FLAKY}


@pytest.mark.parametrize("status", sorted(CONTRADICTING))
def test_what_was_no_plain_pass_is_not_cached_though_nothing_changed(plan: Plan, status: Status) -> None:
    store = Memory()
    passing(plan, store)
    passing(plan, store, status=status, quarantined="because" if status is Status.FAILED else "")
    assert cached(plan, store) == {}
    verdict = explain(store.kept["api"], of(plan))
    assert verdict.why == ("was flaky" if status is Status.FLAKY else "failed") + " in run r1"
    assert "unknown" not in store.kept
    passing(plan, store)
    assert cached(plan, store) == {"api": "r1", "build": "r1"}


@pytest.mark.parametrize("status", sorted(set(Status) - CONTRADICTING - {Status.PASSED}))
def test_what_did_not_run_to_its_end_changes_nothing(plan: Plan, status: Status) -> None:
    store = Memory()
    passing(plan, store, status=status)
    assert cached(plan, store) == {}
    passing(plan, store)
    passing(plan, store, status=status)
    assert cached(plan, store) == {"api": "r1", "build": "r1"}


def test_a_pass_in_quarantine_is_not_stored(plan: Plan) -> None:
    store = Memory()
    passing(plan, store, quarantined="because")
    assert store.kept == {}


def test_a_part_of_a_group_is_neither_stored_nor_cached_and_its_failure_counts(plan: Plan) -> None:
    store = Memory()
    passing(plan, store)
    part = with_group(plan, partial=True)
    assert cached(part, store) == {"build": "r1"}
    empty = Memory()
    passing(part, empty)
    assert set(empty.kept) == {"build"}
    passing(part, store, status=Status.FAILED)
    assert cached(plan, store) == {}


def test_files_are_read_once_for_all_groups(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    original = Path.open

    def counting(path: Path, *arguments: Any) -> Any:
        opened.append(path.name)
        return original(path, *arguments)

    monkeypatch.setattr(Path, "open", counting)
    groups = tuple(msgspec.structs.replace(API, name=str(number)) for number in range(20))
    take(Fingerprints(replaced(plan, phases=(Phase(name="p", groups=groups),)), "local", {}, {}), groups)
    assert sorted(opened) == sorted({Path(name).name for name in FILES} - {"Makefile"})


def test_a_plan_without_inputs_costs_no_look_at_any_file(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", None)
    monkeypatch.setattr(Path, "glob", None)
    monkeypatch.setattr(Path, "stat", None)
    assert take(Fingerprints(plan, "local", {}, {}), [UNKNOWN])["unknown"].unknown


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text(max_size=3)), st.randoms())
def test_the_order_of_variables_does_not_count(variables: dict[str, str], random: Any) -> None:
    items = list(variables.items())
    random.shuffle(items)

    def digest(env: dict[str, str]) -> str:
        group = Group(name="g", phase="p", command="true", inputs=("nothing",))
        plan = Plan(
            project="/",
            phases=(Phase(name="p", groups=(group,)),),
            env=env,
            environments=(Environment(name="local"),),
        )
        return of(plan, "g").digest

    assert digest(variables) == digest(dict(items))
    assert digest(variables) != digest(variables | {"d": ""})
