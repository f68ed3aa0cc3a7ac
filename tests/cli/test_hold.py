"""`hold`: takes one request from a budget and becomes the command; in processes, because it replaces its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from projects import eventually

from harness.cli.door import Door
from harness.cli.hold import hold
from harness.errors import UsageError
from harness.pytest_plugin.harness_fixtures.budgets import DIRECTORY, Budget, BudgetTimeout, write_spec
from harness.values import quoted

PLAN = """
[resources]
stripe = 20
"a b" = 3
payments_api = { concurrent = 1 }
mails = { rate = "1/h" }

[[phases]]
name = "only"

[[phases.groups]]
name = "one"
command = "true"
"""

Hold = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def planned(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HARNESS_BUDGETS", raising=False)
    (project / "harness.toml").write_text(PLAN)
    return project


@pytest.fixture
def start(planned: Path) -> Iterator[Hold]:
    """start(argument, …): the command line in a process of its own; it is killed at the end."""
    with ExitStack() as stack:

        def started(*arguments: str, **env: str) -> "subprocess.Popen[str]":
            argv = [sys.executable, "-m", "harness", "hold", *arguments]
            # From the directory of the harness, which need not be installed; the project is elsewhere.
            argv[3:3] = ["--project", str(planned)]
            process = subprocess.Popen(
                argv,
                env={**os.environ, **env},
                cwd=Path(__file__).parents[2],
                stdin=-1,
                stdout=-1,
                stderr=-1,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield started


def is_free(planned: Path, name: str) -> bool:
    try:
        with Budget.open(planned / DIRECTORY, name).hold(timeout=0):
            return True
    except BudgetTimeout:
        return False


def test_streams_arguments_and_exit_code_are_the_commands(start: Hold) -> None:
    script = 'read line; printf "%s|" "$line" "$@"; echo problem >&2; exit 7'
    process = start("payments_api", "--", "bash", "-c", script, "-", "-x", "--", "two words", "")
    assert process.communicate("typed\n", timeout=60) == ("typed|-x|--|two words||", "problem\n")
    assert process.returncode == 7


def test_the_dashes_may_be_left_out(start: Hold) -> None:
    assert start("payments_api", "echo", "-n", "--help").communicate(timeout=60) == ("--help", "")


def test_the_command_is_the_same_process_so_signals_reach_it(start: Hold) -> None:
    process = start("payments_api", "--", "sh", "-c", "trap 'echo heard; exit 3' TERM; echo $$; read line")
    assert process.stdout.readline() == f"{process.pid}\n"
    process.terminate()
    assert process.communicate("\n", timeout=60) == ("heard\n", "")
    assert process.returncode == 3


def test_a_command_that_a_signal_ends_ends_by_it(start: Hold) -> None:
    process = start("payments_api", "--", "sh", "-c", "kill -USR1 $$")
    assert process.wait(60) == -signal.SIGUSR1


def test_a_broken_pipe_ends_the_command_as_in_a_shell(start: Hold) -> None:
    process = start("payments_api", "--", "bash", "-c", "yes; exit ${PIPESTATUS[0]}")
    assert process.stdout.readline() == "y\n"
    process.stdout.close()
    assert process.wait(60) == -signal.SIGPIPE or process.returncode == 128 + signal.SIGPIPE
    process.stdout = None


def test_the_place_is_held_until_the_command_has_ended(start: Hold, planned: Path) -> None:
    process = start("payments_api", "--", "sh", "-c", "echo in; read line")
    assert process.stdout.readline() == "in\n"
    assert not is_free(planned, "payments_api")
    waiting = start("payments_api", "--", "echo", "next")
    process.communicate("\n", timeout=60)
    assert waiting.communicate(timeout=60) == ("next\n", "")
    assert is_free(planned, "payments_api")


def test_what_the_command_leaves_running_still_holds_the_place(start: Hold, planned: Path) -> None:
    process = start("payments_api", "--", "sh", "-c", "exec 2>&-; sleep 1000 >&- <&- & echo $!")
    left = int(process.communicate(timeout=60)[0])
    try:
        assert not is_free(planned, "payments_api")
    finally:
        os.kill(left, signal.SIGKILL)


def test_a_rate_is_taken_once(start: Hold, planned: Path) -> None:
    assert start("mails", "--", "true").wait(60) == 0
    assert not is_free(planned, "mails")


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux says who holds a lock")
def test_ctrl_c_while_it_waits_ends_it_by_the_signal(start: Hold) -> None:
    holder = start("payments_api", "--", "sh", "-c", "echo in; read line")
    assert holder.stdout.readline() == "in\n"
    waiting = start("payments_api", "--", "echo", "never")
    eventually(lambda: f" {waiting.pid} " in Path("/proc/locks").read_text(), "it waits")  # it is the one at the gate
    waiting.send_signal(signal.SIGINT)
    assert waiting.communicate(timeout=60)[0] == ""
    assert waiting.returncode == -signal.SIGINT


def test_a_group_takes_from_the_budgets_that_its_run_names(start: Hold, planned: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert start("mails", "true", HARNESS_BUDGETS=str(elsewhere)).wait(60) == 0
    assert [path.name[:6] for path in elsewhere.iterdir()] == ["mails-"]
    assert not (planned / DIRECTORY).exists()


def test_the_bounds_are_those_that_the_plan_has_now(start: Hold, planned: Path) -> None:
    write_spec(planned / DIRECTORY, "payments_api", 7, 7, 7.0)
    assert start("payments_api", "true").wait(60) == 0
    budget = Budget.open(planned / DIRECTORY, "payments_api")
    assert (budget.concurrent, budget.requests) == (1, None)


def test_a_program_that_is_not_there_costs_no_request(start: Hold, planned: Path) -> None:
    process = start("mails", "--", "no-such-program")
    assert process.communicate(timeout=60)[1].startswith('error: there is no program "no-such-program"\n')
    assert process.returncode == 127
    assert is_free(planned, "mails")


def test_a_program_that_cannot_be_run(start: Hold, planned: Path) -> None:
    program = planned / "program"
    program.write_bytes(b"\x00\x01")
    program.chmod(0o755)
    process = start("payments_api", "--", str(program))
    assert "Exec format error" in process.communicate(timeout=60)[1]
    assert process.returncode == 126
    assert is_free(planned, "payments_api")


def test_a_file_that_is_not_executable_and_a_directory(start: Hold, planned: Path) -> None:
    program = planned / "program"
    program.write_text("#!/bin/sh\n")
    path = {"PATH": f"{planned}:{os.environ['PATH']}"}
    for argument, said in [
        (str(program), f"error: {quoted(str(program))} is not executable\n  Make it so: chmod +x {program}\n"),
        ("program", f'error: "program" is not executable\n  Make it so: chmod +x {program}\n'),
        (str(planned), f"error: {quoted(str(planned))} is a directory\n"),
    ]:
        process = start("mails", "--", argument, **path)
        assert process.communicate(timeout=60)[1].startswith(said)
        assert process.returncode == 126
    assert is_free(planned, "mails")


def test_a_directory_that_cannot_be_written_is_infrastructure(start: Hold, planned: Path) -> None:
    (planned / ".harness").write_text("no directory")
    process = start("mails", "true")
    assert process.communicate(timeout=60)[1].startswith('error: cannot use the budget "mails": ')
    assert process.returncode == 3


@pytest.mark.parametrize(
    ("name", "message", "cure"),
    [
        ("payment_api", 'there is no budget "payment_api"', 'did you mean "payments_api"?'),
        ("x", 'there is no budget "x"', "The plan has: payments_api, mails"),
        (
            "stripe",
            '"stripe" is a counted resource: groups take of it with `needs`, for as long as they run',
            "For single requests make it a budget, in [resources]: stripe = { concurrent = 20 }",
        ),
        (
            "a b",
            '"a b" is a counted resource: groups take of it with `needs`, for as long as they run',
            'For single requests make it a budget, in [resources]: "a b" = { concurrent = 3 }',
        ),
    ],
)
@pytest.mark.usefixtures("planned")
def test_what_is_no_budget_is_refused_with_what_to_do(call, name: str, message: str, cure: str) -> None:
    with pytest.raises(UsageError) as caught:
        call(hold, name, "--", "true")
    assert (caught.value.message, caught.value.cure) == (message, cure)


def test_a_plan_without_budgets(call, planned: Path) -> None:
    (planned / "harness.toml").write_text(PLAN.replace("payments_api =", "#").replace("mails =", "#"))
    with pytest.raises(UsageError) as caught:
        call(hold, "mails", "--", "true")
    assert caught.value.cure == 'Write in [resources]: mails = { rate = "25/s" }'


@pytest.mark.usefixtures("planned")
def test_no_command(call) -> None:
    with pytest.raises(UsageError, match="there is no command to run"):
        call(hold, "mails", "--")


def test_the_plan_of_the_page(planned: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/budgets.md").read_text()
    (planned / "harness.toml").write_text(page.split("```toml\n")[1].split("```")[0] + PLAN[PLAN.index("[[phases]]") :])
    plan = Door.at(planned, "local").plan
    assert plan.resources == {"stripe": 20}
    bounds = [(budget.name, budget.concurrent, budget.requests, budget.window) for budget in plan.budgets]
    assert bounds == [("payments_api", 20, 25, 1.0), ("mails", None, 1000, 3600.0)]
