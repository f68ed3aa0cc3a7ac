"""Runs for which there are too few open files."""

import pytest
from projects import Harness

from harness.events import Warned

GROUPS = 20


def plan(*keys: str) -> str:
    lines = [
        """
        [isolation.dir]
        kind = "tmpdir"

        [isolation.port]
        kind = "ports"
        variables = ["PORT"]

        [isolation.mine]
        kind = "command"
        setup = "echo MADE=1 >>$HARNESS_ENV"
        teardown = "true"

        [[phases]]
        name = "p"
    """
    ]
    for number in range(GROUPS):
        lines.append(f'[[phases.groups]]\nname = "g{number}"')
        lines += [key.replace("NUMBER", str(number)) for key in keys]
    return "\n".join(line.strip() for text in lines for line in text.split("\n"))


def warnings(events: list) -> list[str]:
    return [stamped.data.message for stamped in events if isinstance(stamped.data, Warned)]


def test_fewer_groups_run_at_a_time_and_one_warning_says_so(harness: Harness) -> None:
    harness.plan(plan('command = "true"'))
    ran = harness.run("test", "--parallel", "--jobs", str(GROUPS), before="ulimit -n 32")
    assert (ran.code, set(ran.statuses.values())) == (0, {"passed"})
    assert ran.most_at_once() == 1
    (warning,) = warnings(ran.events)
    assert warning.startswith("`ulimit -n` allows 32 open files: groups run 1 at a time, and not 20. Raise it: ")
    assert warning in ran.stdout
    assert ran.report["summary"]["jobs"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys",
    [
        ('tests = "test_NUMBER.py"',),
        ('tests = "test_NUMBER.py"', "warm = false"),
        ('tests = "test_NUMBER.py"', 'isolate = ["dir", "port", "mine"]'),
        ('command = "true"', 'isolate = ["dir", "port", "mine"]'),
    ],
    ids=["warm", "pytest", "isolated", "command"],
)
def test_as_many_as_there_is_room_for_do_not_run_out(harness: Harness, keys: tuple[str, ...]) -> None:
    """Whatever they open: what is counted is no less than what they take."""
    harness.plan(plan(*keys))
    for number in range(GROUPS):
        harness.write(f"test_{number}.py", "def test_it(): pass\n")
    ran = harness.run("test", "--parallel", "--jobs", str(GROUPS), before="ulimit -n 70")
    assert (ran.code, set(ran.statuses.values())) == (0, {"passed"})
    assert 1 < ran.report["summary"]["jobs"] < 10
    assert len(warnings(ran.events)) == 1
    assert "a pytest of its own" not in "".join(ran.log(f"g{number}") for number in range(GROUPS))


def test_where_there_is_room_for_none_nothing_starts(harness: Harness) -> None:
    harness.plan(plan('command = "touch started"'))
    ran = harness.run("test", "--parallel", before="ulimit -n 24")
    assert ran.code == 3
    assert ran.stderr.startswith("error: `ulimit -n` allows 24 open files, and a run of these groups needs 2")
    assert "Raise it: `ulimit -n " in ran.stderr
    assert not (harness.directory / "logs").exists()
    assert not (harness.directory / "started").exists()


def test_enough_is_not_spoken_of(harness: Harness) -> None:
    harness.plan(plan('command = "true"'))
    ran = harness.run("test", "--parallel", "--jobs", "500", before="ulimit -n 256")  # which is enough for twenty
    assert (ran.code, warnings(ran.events)) == (0, [])
    assert ran.report["summary"]["jobs"] == 500
