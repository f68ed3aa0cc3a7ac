"""Runs whose groups are forked from one pytest, as a user starts them."""

import json
import signal
import sys

import pytest
from projects import Harness, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux only")

HOW = """
    import json, os, pathlib, sys

    def test_how():
        told = {"warm": "harness_warm" in sys.orig_argv, "pid": os.getpid(), "tmp": os.environ.get("TMPDIR"),
                "group": os.environ["HARNESS_GROUP"], "secret": os.environ.get("KEY_OF_ALL"),
                "shown": "KEY_OF_ALL" in pathlib.Path("/proc/self/environ").read_text()}
        pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(told))
    """
GROUP = '[[phases.groups]]\nname = "{0}"\ntests = "test_{0}.py"\n'


def plan(*groups: str, run: str = "", more: str = "") -> str:
    texts = "".join(GROUP.format(name) for name in groups)
    return (
        f'[run]\nenv = {{ PYTEST_ADDOPTS = "-p no:hypothesispytest" }}\n{run}\n{more}\n[[phases]]\nname = "p"\n{texts}'
    )


def told(harness: Harness, group: str) -> dict[str, object]:
    return json.loads((harness.directory / f"test_{group}.json").read_text())


@pytest.mark.parametrize("warm", [True, False])
def test_groups_are_forked_unless_the_plan_says_no(harness: Harness, warm: bool) -> None:
    for name in "abc":
        harness.write(f"test_{name}.py", HOW)
    harness.plan(plan("a", "b", "c", run=f"warm = {str(warm).lower()}"))
    ran = harness.run("test", "--parallel")
    assert ran.code == 0, ran.stdout
    assert [told(harness, name)["warm"] for name in "abc"] == [warm] * 3
    assert [told(harness, name)["group"] for name in "abc"] == ["a", "b", "c"]
    assert len({told(harness, name)["pid"] for name in "abc"}) == 3
    assert "a pytest of its own" not in ran.stdout + ran.log("a")


def test_one_group_alone_has_nothing_to_share(harness: Harness) -> None:
    harness.write("test_a.py", HOW)
    harness.plan(plan("a"))
    assert harness.run("test").code == 0
    assert told(harness, "a")["warm"] is False


def test_a_fork_has_its_environment_and_nothing_that_is_hidden_from_it(harness: Harness, redis_url: str) -> None:
    """Also where a group beside it may have it: the process that is forked for both has it not."""
    for name in "ab":
        harness.write(f"test_{name}.py", HOW)
    text = plan("a", "b", more='[isolation.redis]\nurl = "${KEY_OF_ALL}"\n[isolation.tmpdir]')
    harness.plan(text.replace('"test_a.py"', '"test_a.py"\nisolate = ["redis", "tmpdir"]'))
    ran = harness.run("test", "--parallel", env={"KEY_OF_ALL": redis_url})
    assert ran.code == 0, ran.stdout
    assert "a pytest of its own" not in ran.stdout
    hides, has = told(harness, "a"), told(harness, "b")
    assert (hides["warm"], hides["secret"], hides["shown"]) == (True, None, False)
    assert (has["warm"], has["secret"], has["shown"]) == (True, redis_url, True)
    assert hides["tmp"] != has["tmp"]


def test_what_a_fork_forks_is_known_by_its_marks(harness: Harness) -> None:
    """It has no program of its own, and so the variables that the kernel shows are those of its memory."""
    harness.write(
        "test_a.py",
        """
        import os, time
        def test_a():
            if not os.fork():
                os.setsid()
                if os.fork():
                    os._exit(0)
                for descriptor in range(3):
                    os.close(descriptor)
                time.sleep(600)
        """,
    )
    harness.write("test_b.py", "def test_b(): pass")
    text = plan("a", "b", more="[isolation.tmpdir]\ncheck = true")
    harness.plan(text.replace('"test_a.py"', '"test_a.py"\nisolate = ["tmpdir"]'))
    ran = harness.run("test", "--parallel")
    (suite,) = (suite for suite in ran.report["suites"] if suite["name"] == "a")
    assert "a pytest of its own" not in ran.log("a")
    assert any(line.startswith("process ") for line in suite["contaminates"]), suite["contaminates"]


def test_an_interrupt_while_pytest_is_loaded(harness: Harness) -> None:
    harness.write("conftest.py", "import pathlib, time\npathlib.Path('loading').touch()\ntime.sleep(600)")
    harness.write("test_a.py", "def test_a(): pass")
    harness.write("test_b.py", "def test_b(): pass")
    harness.plan(plan("a", "b"))
    process = harness.start("test", "--parallel")
    eventually((harness.directory / "loading").exists, "pytest is loaded")
    process.send_signal(signal.SIGINT)
    ran = harness.finish(process)
    assert ran.code == -signal.SIGINT
    assert set(ran.statuses.values()) == {"interrupted"}


def test_each_file_in_a_process_of_its_own(harness: Harness) -> None:
    for name in "ab":
        harness.write(f"test_{name}.py", HOW)
    harness.plan(plan("a").replace('"test_a.py"', '["test_a.py", "test_b.py"]\nprocess = "file"'))
    ran = harness.run("test")
    assert ran.code == 0
    assert told(harness, "a")["pid"] != told(harness, "b")["pid"]
    assert told(harness, "a")["warm"] is True
    assert [suite["name"] for suite in ran.report["suites"]] == ["a"]
