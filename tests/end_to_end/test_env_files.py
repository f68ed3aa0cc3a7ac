"""What stands in env files is never printed: not by commands that read them, nor where something in them is wrong."""

import pytest
from projects import Harness

CANARY = "canary-7f3a9c"
PLAN = """
    [variables.ROUNDS]
    type = "count"

    [variables.API_TOKEN]
    type = "switch"

    [isolation.made]
    kind = "command"
    setup = "true"

    [[phases]]
    name = "p"

    [[phases.groups]]
    name = "g"
    command = "true"
    inputs = ["harness.toml"]
    isolate = ["made"]

    [[phases]]
    name = "off"
    when = "WITH_OFF"

    [[phases.groups]]
    name = "o"
    command = "true"
"""
COMMANDS = ["list", "plan", "plan --jobs 2", "plan --format json", "list --format json", "setup", "cache", "gc"]
COMMANDS += ["test --list", "test --dry-run", "test --verbose", "history", "history g", "status", "logs g", "flaky"]


@pytest.fixture
def suite(harness: Harness) -> Harness:
    harness.plan(PLAN)
    return harness


def test_no_command_prints_a_value_of_an_env_file(suite: Harness) -> None:
    suite.write(
        ".env", f"NAME={CANARY}-1\nexport URL='https://u:{CANARY}-2@host/'\nSEVERAL=\"{CANARY}-3\\n{CANARY}\"\n"
    )
    assert suite.run("test").code == 0
    for command in COMMANDS:
        ran = suite.run(*command.split())
        assert ran.code == 0, ran.stderr
        assert CANARY not in ran.stdout + ran.stderr
    written = [path for path in suite.directory.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert written == [suite.directory / ".env"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CANARY, ".env:1: has no = after the name"),
        (f"A=1\n{CANARY}=1", ".env:2: does not begin with a variable's name"),
        (f'A="{CANARY}', '.env:1: has no closing "'),
        (f"A='{CANARY}' {CANARY}", ".env:1: has text after the closing quote"),
    ],
)
@pytest.mark.parametrize("command", ["test", "test --dry-run", "cicd", "plan --jobs 2", "cache", "gc"])
def test_a_line_that_is_wrong_is_told_by_its_number(suite: Harness, command: str, text: str, said: str) -> None:
    suite.write(".env", text)
    refused(suite, command, said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"MAX_PARALLEL_JOBS={CANARY}", "MAX_PARALLEL_JOBS: its value is not a whole number from 1 to 1024"),
        (f"ROUNDS={CANARY}", "ROUNDS: its value is not a whole number"),
        (f"WITH_OFF={CANARY}", "WITH_OFF: its value is neither true nor false"),
    ],
)
@pytest.mark.parametrize("command", ["test", "cicd"])
def test_a_value_that_is_wrong_is_told_by_its_variable(suite: Harness, command: str, text: str, said: str) -> None:
    suite.write(".env", text)
    refused(suite, command, said)


def test_a_prediction_does_not_show_it_either(suite: Harness) -> None:
    suite.write(".env", f"WITH_OFF={CANARY}")
    refused(suite, "plan --jobs 2", "WITH_OFF: its value is neither true nor false")


def refused(suite: Harness, command: str, said: str) -> None:
    ran = suite.run(*command.split())
    assert ran.code == 2
    assert said in ran.stderr
    assert CANARY not in ran.stdout + ran.stderr
    assert not (suite.directory / "logs").exists()


def test_a_value_from_the_shell_is_shown_unless_its_name_says_that_it_is_a_secret(suite: Harness) -> None:
    suite.write(".env", "MAX_PARALLEL_JOBS=2\n")
    ran = suite.run("test", env={"MAX_PARALLEL_JOBS": "abc", "API_TOKEN": CANARY, "ROUNDS": "none"})
    assert ran.code == 2
    assert 'MAX_PARALLEL_JOBS: "abc" is not a whole number' in ran.stderr
    assert 'ROUNDS: "none" is not a whole number' in ran.stderr
    assert "API_TOKEN: its value is neither true nor false" in ran.stderr
    assert CANARY not in ran.stderr
