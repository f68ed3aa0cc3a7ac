from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import ExitCode, PlanError, UsageError
from harness.model import After, Dependency, LockMode, Plan, Ready, Variable
from harness.planning.find import find_project
from harness.planning.load import load_plan

GROUP = '[[phases]]\nname = "p"\n[[phases.groups]]\nname = "a"\ncommand = "true"\n'

FULL = r"""
[run]
timeout = "1m30s"
grace = 0
global_timeout = 3600
retries = 2
env = { BASE = "{web.url}" }
log_dir = "/var/log/harness"

[resources]
payments_api = 20

[variables.COUNT]
type = "count"
default = 5

[environments.staging]
env = { BASE = "https://staging" }

[environments.half]
services = ["web"]

[isolation.tmpdir]
home = true

[isolation.db]
kind = "postgres"
dsn = "{db.url}"

[[services]]
name = "db"
kind = "postgres"

[[services]]
name = "cache"
command = ["cache", "--port", "{port}"]
ready = { log = "ready to \\w+", timeout = "5s" }

[[services]]
name = "web"
command = "web --port {port} --db {db.url}"
env = { JSON = '{"a": "${x.port}"}' }
ready = { http = "/health" }

[[phases]]
name = "core"
sequential = true

[[phases.groups]]
name = "core"
tests = ["test_b.py", "test_a.py::TestOne::test_x[a-1]"]
services = ["web"]

[[phases]]
name = "late"
when = "LATE"

[[phases.groups]]
name = "all of it"
tests = "test_[cd].py"
description = "words"
category = "acceptance"
depends_on = ["core", { group = "other", after = "any" }]
parallel_group = "ledger"
needs = { payments_api = 5, settings = "shared", disk = "exclusive" }
slots = 2
timeout = 7.5
grace = "1h"
retries = 0
services = []
env = { PORT = "{cache.port}" }
isolate = ["tmpdir", "db"]
workers = 2
dist = "worksteal"
inputs = ["*.py"]

[[phases.groups]]
name = "other"
command = ["make", "x"]

[[pipeline]]
name = "lint"
command = "make lint"

[[pipeline]]
name = "suite"
suite = true
"""


@pytest.fixture
def full(load: Any) -> Plan:
    plan: Plan = load(FULL, test_a="", test_b="", test_c="", test_d="")
    return plan


def test_groups_say_what_the_plan_says(full: Plan, tmp_path: Path) -> None:
    core, everything, other = full.groups
    assert full.project == str(tmp_path)
    assert core.tests == ("test_b.py", "test_a.py::TestOne::test_x[a-1]")  # the order of the plan
    assert (core.phase, core.timeout, core.grace, core.retries) == ("core", 90.0, 0.0, 2)  # those of [run]
    assert everything.tests == ("test_c.py", "test_d.py")  # a glob's files are sorted
    assert everything.depends_on == (Dependency(group="core"), Dependency(group="other", after=After.ANY))
    assert everything.parallel_group == ("ledger",)
    assert everything.needs == {"payments_api": 5, "settings": LockMode.SHARED, "disk": LockMode.EXCLUSIVE}
    assert all(isinstance(need, int | LockMode) for need in everything.needs.values())
    assert (everything.timeout, everything.grace, everything.retries) == (7.5, 3600.0, 0)  # its own, also when 0
    assert (everything.slots, everything.workers, everything.dist) == (2, 2, "worksteal")
    assert (other.command, other.tests) == (("make", "x"), ())


def test_services_of_a_group_are_closed_over_what_they_wait_for(full: Plan) -> None:
    core, everything, other = full.groups
    assert core.services == ("db", "web")  # web's command speaks of db
    assert everything.services == ("db", "cache")  # its environments are made on db, its own env speaks of cache
    assert everything.holds == {"db": 20}  # for each of its two workers as many sessions as a lease may have
    assert other.services == ("db", "cache", "web")  # by default all
    db, cache, web = full.services
    assert (web.depends_on, db.depends_on) == (("db",), ())
    assert cache.ready == Ready(log=r"ready to \w+", timeout=5.0)


def test_environments_have_their_services(full: Plan) -> None:
    found = {environment.name: environment for environment in full.environments}
    assert found["local"].services == ("db", "cache", "web")
    assert found["staging"].services == ()
    assert found["half"].services == ("db", "web")
    assert found["staging"].env == {"BASE": "https://staging"}


def test_the_rest_of_the_plan(full: Plan) -> None:
    assert (full.global_timeout, full.log_dir, full.test_root) == (3600.0, "/var/log/harness", ".")
    assert full.variables == (Variable(name="COUNT", type="count", default="5"),)
    assert set(full.written) == {"timeout", "grace", "global_timeout", "retries", "env", "log_dir"}
    tmpdir, db = full.isolation
    assert (tmpdir.kind, tmpdir.options) == ("tmpdir", {"home": True, "watch": ["."], "ignore": []})
    assert db.options["variable"] == "DATABASE_URL"
    assert "kind" not in db.options
    assert [(stage.name, stage.command, stage.suite) for stage in full.pipeline] == [
        ("lint", "make lint", False),
        ("suite", None, True),
    ]
    assert [(phase.sequential, phase.when) for phase in full.phases] == [(True, ""), (False, "LATE")]


def test_a_plan_survives_json(full: Plan) -> None:
    assert msgspec.json.decode(msgspec.json.encode(full), type=Plan) == full


def test_every_default_is_that_of_the_noun(load: Any) -> None:
    plan = load(GROUP)
    group = plan.groups[0]
    bare = type(group)(name="a", phase="p", command="true")
    assert group == bare
    assert msgspec.structs.replace(plan, environments=()) == Plan(project=plan.project, phases=plan.phases)


def test_problems_come_all_at_once_sorted_by_line(refused: Any) -> None:
    problems = refused('[run]\nretries = "x"\n' + GROUP + 'timeout = "soon"\nslotz = 1\n[resources]\nx = 0\n')
    assert [int(problem.split(":")[1]) for problem in problems] == [2, 8, 9, 11]
    assert all(problem.startswith("harness.toml:") for problem in problems)


def test_a_plan_error_ends_with_exit_code_2(load: Any) -> None:
    with pytest.raises(PlanError) as caught:
        load("x = 1")
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[run]\ntimeout = '\xff'\n", "harness.toml:2: byte 0xff is not UTF-8; save the file as UTF-8"),
        (b"x = " + b"[" * 100_000, "harness.toml:1: values are nested too deeply"),
        (b"#" * (9 << 20), "harness.toml:1: is larger than 8 MiB"),
        (b"\na" + b".a" * 100_000, "harness.toml:2: a name of more than 1000 parts, with dots between them"),
        (b"x = {" + b"'a' . " * 100_000, "harness.toml:1: a name of more than 1000 parts, with dots between them"),
        (b"a = 1\nb = " + b"9" * 5000, "not TOML: Exceeds the limit"),
        (b"[run]\n[run]\n", "harness.toml:2: column 5: not TOML: Cannot declare ('run',) twice"),
        (b"x = [\n1,\n", "harness.toml:2: at the end: not TOML"),
        (b"a = '\0'", "harness.toml:1: column 6: not TOML: "),
        (GROUP.encode() + b'env = { X = "\\u0000" }', "env.X: holds a NUL character"),
        (GROUP.encode() + b"slots = 0x" + b"f" * 5000, "slots: a number of more than 64 bits is not a whole number"),
        (GROUP.encode() + b"timeout = nan", "timeout: nan is not a duration"),
        (b"[run]\nlog_limit = 5", 'log_limit: 5 is not a size; write 500MB, 1GB or "unlimited"'),
        (b"[run]\nlog_limit = '1KB'", 'log_limit: "1KB" is less than 10 KB'),
        (b"[run]\nsecrets = ['A', 'B C']", 'secrets[1]: "B C" is not a variable, or a pattern such as *_KEY'),
        (GROUP.encode() + b"timeout = inf", "timeout: inf is not a duration"),
        (GROUP.encode() + b"timeout = 0x" + b"f" * 5000, "is not a duration"),
        (GROUP.encode() + b"timeout = 1979-05-27", "timeout: a date or time is not a duration"),
        (GROUP.encode() + b"timeout = 0", "timeout: 0 is not a duration"),
        (GROUP.encode() + b'"bad key\\n" = 0', 'groups[0]."bad key\\n": unknown key'),
        (GROUP.encode() + b'tests = ["' + b"x" * 5000 + b'.py"]', "is not there"),
        (GROUP.encode() + b'depends_on = [{ after = "any" }]', "depends_on[0]: group is missing"),
        (GROUP.encode() + b"needs = { x = true }", "needs.x: true is neither a number"),
        (GROUP.replace('"a"', '"' + "a" * 301 + '"').encode(), "has 301 characters; a name has at most 300"),
        (GROUP.replace('"a"', '"a,b"').encode(), "holds a comma"),
        (GROUP.encode() + b'services = ["x"]', 'there is no service "x"; this plan declares none'),
    ],
)
def test_ill_behaved_files_get_one_clear_line(refused: Any, content: bytes, message: str) -> None:
    (found,) = [problem for problem in refused(content) if message in problem]
    assert "\n" not in found


def test_bom_and_windows_line_ends_are_fine(load: Any, refused: Any) -> None:
    assert load(b"\xef\xbb\xbf" + GROUP.replace("\n", "\r\n").encode()).groups[0].name == "a"
    (problem,) = refused(b"\xef\xbb\xbf" + (GROUP + "x = 1\n").replace("\n", "\r\n").encode())
    assert problem.startswith("harness.toml:6: ")


def test_odd_names_are_only_names(load: Any) -> None:
    names = ["../../x", "-rf", "A", "a", "עברית", "$(touch pwned)", "<script>", "%0A::error::", "x" * 300]
    text = '[[phases]]\nname = "p"\n' + "".join(
        f"[[phases.groups]]\nname = '{name}'\ncommand = 'true'\n" for name in names
    )
    assert [group.name for group in load(text).groups] == names


def test_a_missing_plan_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"harness\.toml: No such file"):
        load_plan(tmp_path, date(2026, 1, 31))


def test_all_of_a_resource_may_be_asked_for(load: Any) -> None:
    plan = load("[resources]\napi = 20\n" + GROUP + "needs = { api = 20 }")
    assert plan.groups[0].needs == {"api": 20}


def test_a_cycle_in_a_sequential_phase_is_reported_once(refused: Any) -> None:
    text = GROUP.replace("[[phases.groups]]", "sequential = true\n[[phases.groups]]")
    (problem,) = refused(text + 'depends_on = "b"\n[[phases.groups]]\nname = "b"\ncommand = "true"\ndepends_on = "a"\n')
    assert problem.endswith("depends_on: groups wait for one another: a → b → a")


def test_what_is_named_twice_is_refused(refused: Any) -> None:
    services = '[[services]]\nname = "web"\ncommand = "x"\n'
    group = 'services = ["web", "web"]\ndepends_on = ["b", { group = "b", after = "any" }]\n'
    other = '[[phases.groups]]\nname = "b"\ncommand = "true"\n'
    assert [problem.partition("]: ")[2] for problem in refused(services + GROUP + group + other)] == [
        '"web" is named twice',
        '"b" is named twice',
    ]


def test_a_service_may_speak_of_itself(load: Any) -> None:
    plan = load('[[services]]\nname = "web"\ncommand = "serve {port} --public {web.url}"\n' + GROUP)
    assert plan.services[0].depends_on == ()


def test_ten_thousand_typos_are_all_reported(refused: Any) -> None:
    groups = "".join(
        f'[[phases.groups]]\nname = "g{n}"\ncommand = "x"\ntimeuot = 1\ndepends_on = ["h{n}"]\n' for n in range(10_000)
    )
    problems = refused('[[phases]]\nname = "p"\n' + groups)
    assert len(problems) == 20_000
    assert "did you mean" in problems[0]


def test_a_chain_longer_than_the_stack_is_no_cycle(load: Any, refused: Any) -> None:
    names = [f"g{number}" for number in range(5000)]

    def chain(first: str) -> str:
        return '[[phases]]\nname = "p"\n' + "".join(
            f'[[phases.groups]]\nname = "{name}"\ncommand = "x"\ndepends_on = "{before}"\n'
            for name, before in zip(names, [first, *names], strict=False)
        )

    assert len(load(chain("g0x") + '[[phases.groups]]\nname = "g0x"\ncommand = "x"\n').groups) == 5001
    (problem,) = refused(chain("g4999"))
    assert problem.endswith("g2 → g1 → g0")
    assert "phases[0].groups[0].depends_on: groups wait for one another: g0 → g4999 → g4998" in problem
    assert "g4991 → … 4981 more … → g9 →" in problem


def test_the_nearest_plan_upward_is_found(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    (tmp_path / "a" / "harness.toml").write_text("")
    (tmp_path / "harness.toml").write_text("")
    assert find_project(inner) == tmp_path / "a"
    assert find_project(tmp_path) == tmp_path


def test_no_plan_anywhere_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.planning.find.FILE_NAME", "no-such-plan.toml")
    with pytest.raises(UsageError, match="there is no no-such-plan") as caught:
        find_project(tmp_path)
    assert "--project" in caught.value.cure
