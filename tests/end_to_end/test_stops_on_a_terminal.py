"""Runs that are stopped from a terminal, and what they put away first, however often somebody asks."""

from collections.abc import Callable, Iterator

import pytest
from platforms import Handler, Platform, fails, platform_running
from projects import Harness, Ran, eventually
from terminals import CTRL_C, HARNESS, Terminal

from harness.events import LeaseEnded, RunFinished, SignalReceived

WAIT = "until [ -e go ]; do sleep 0.02; done"
IGNORES = "trap '' INT TERM; touch ignores_$HARNESS_GROUP; while :; do sleep 1000; done"

Open = Callable[[], Terminal]


def plan(count: int, command: str, group: str = "", more: str = "") -> str:
    groups = [f'[[phases.groups]]\nname = "g{number}"\ncommand = "{command}"\n{group}' for number in range(count)]
    return "\n".join(['[run]\ngrace = "60s"', more, '[[phases]]\nname = "p"', *groups])


def of(harness: Harness, kind: type) -> list:
    ran = Ran(0, "", "", harness.directory / "logs")
    return [stamped for stamped in ran.events if isinstance(stamped.data, kind)]


def statuses(harness: Harness) -> list[str]:
    ran = Ran(0, "", "", harness.directory / "logs")
    assert {group: ran.status_file(group)["STATUS"] for group in ran.statuses} == ran.statuses
    return sorted(ran.statuses.values())


def test_ctrl_c(harness: Harness, open_terminal: Open) -> None:
    setup = """
        [isolation.mine]
        kind = "command"
        setup = "touch there_$HARNESS_GROUP"
        teardown = "rm there_$HARNESS_GROUP"
    """
    harness.plan(plan(8, "sleep 1000", 'isolate = ["mine"]', setup))
    terminal = open_terminal()
    terminal.run(f"{HARNESS} test --parallel --jobs 3")
    harness.await_running(3)
    assert len(list(harness.directory.glob("there_*"))) == 3
    terminal.type(CTRL_C)
    assert terminal.exit_code() == 130
    assert statuses(harness) == ["interrupted"] * 3 + ["not_run"] * 5
    assert list(harness.directory.glob("there_*")) == []
    assert harness.survivors() == ["bash --norc --noprofile -i"]
    assert "Traceback" not in terminal.shown


def test_ctrl_c_twice_waits_for_no_grace(harness: Harness, open_terminal: Open) -> None:
    harness.plan(plan(5, IGNORES))
    terminal = open_terminal()
    terminal.run(f"{HARNESS} test --parallel --jobs 3")
    eventually(lambda: len(list(harness.directory.glob("ignores_*"))) == 3, "three that ignore everything")
    terminal.type(CTRL_C)
    harness.await_event(SignalReceived)
    terminal.type(CTRL_C)
    assert terminal.exit_code() == 130
    assert statuses(harness) == ["interrupted"] * 3 + ["not_run"] * 2
    (_, second), (finished,) = of(harness, SignalReceived), of(harness, RunFinished)
    assert finished.elapsed - second.elapsed < 10, "the grace is a minute"
    assert harness.survivors() == ["bash --norc --noprofile -i"]


def test_the_terminal_is_closed(harness: Harness, open_terminal: Open) -> None:
    harness.plan(plan(3, "sleep 1000"))
    terminal = open_terminal()
    terminal.run(f"{HARNESS} test --parallel --jobs 2")
    harness.await_running(2)
    terminal.hang_up()
    eventually(lambda: not harness.survivors(), "the end of all")
    assert statuses(harness) == ["interrupted", "interrupted", "not_run"]
    (finished,) = of(harness, RunFinished)
    assert (finished.data.exit_code, finished.data.stopped_by) == (129, "SIGHUP")


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("reuse", [False, True], ids=["of a group", "of the run"])
def test_ctrl_c_does_not_cut_a_removal_short(harness: Harness, open_terminal: Open, times: int, reuse: bool) -> None:
    """Neither that after a group, nor that of what was handed on, when all groups have ended."""
    removal = f"touch under_way; {WAIT}; touch removed"
    entry = f'[isolation.mine]\nkind = "command"\nsetup = "true"\nteardown = "{removal}"\nreuse = {str(reuse).lower()}'
    harness.plan(plan(1, "true", 'isolate = ["mine"]', entry))
    terminal = open_terminal()
    terminal.run(f"{HARNESS} test")
    eventually((harness.directory / "under_way").exists, "the removal")
    for number in range(times):
        terminal.type(CTRL_C)
        harness.await_event(SignalReceived, number + 1)
    assert of(harness, LeaseEnded) == []
    harness.write("go", "")
    code = terminal.exit_code()
    assert (harness.directory / "removed").exists()
    assert [it.data.ending for it in of(harness, LeaseEnded)] == ["released"]
    assert statuses(harness) == ["passed"]
    assert code == (0 if reuse else 130), "what comes when all is over stops nothing"


def test_a_removal_that_does_not_end_has_its_own_deadline(harness: Harness, open_terminal: Open) -> None:
    entry = """
        [isolation.mine]
        kind = "command"
        setup = "true"
        teardown = "touch under_way; trap '' TERM; sleep 1000"
        timeout = "1s"
    """
    harness.plan(plan(2, "sleep 1000", 'isolate = ["mine"]', entry))
    terminal = open_terminal()
    terminal.run(f"{HARNESS} test")
    harness.await_running(1)
    terminal.type(CTRL_C)
    eventually((harness.directory / "under_way").exists, "the removal")
    terminal.type(CTRL_C)
    assert terminal.exit_code() == 130
    assert [it.data.ending for it in of(harness, LeaseEnded)] == ["leaked"]
    assert statuses(harness) == ["interrupted", "not_run"]
    assert harness.survivors() == ["bash --norc --noprofile -i"]


@pytest.fixture
def platform() -> Iterator[Platform]:
    with platform_running() as running:
        yield running


def test_ctrl_c_twice_still_deletes_the_tenant(harness: Harness, open_terminal: Open, platform: Platform) -> None:
    """The server takes its time, answers with an error, and is asked again."""

    def takes_its_time(handler: Handler) -> None:
        eventually((harness.directory / "go").exists, "the second Ctrl-C")
        fails()(handler)

    entry = f"""
        [isolation.org]
        kind = "tenant"
        base_url = "{platform.url}"
        headers = {{}}
        create = {{ path = "/orgs", body = {{ slug = "{{name}}" }}, read = {{ ORG_KEY = "keys.0.secret" }} }}
        delete = {{ path = "/orgs", body = {{ slug = "{{name}}" }} }}
    """
    harness.plan(plan(1, "sleep 1000", 'isolate = ["org"]', entry))
    terminal = open_terminal()
    terminal.run(f"{HARNESS} test")
    harness.await_running(1)
    before = platform.asked_for("DELETE")
    platform.plant("DELETE", takes_its_time)
    terminal.type(CTRL_C)
    eventually(lambda: platform.asked_for("DELETE") > before, "the first DELETE")
    terminal.type(CTRL_C)
    harness.await_event(SignalReceived, 2)
    assert len(platform.tenants) == 1
    harness.write("go", "")
    assert terminal.exit_code() == 130
    assert platform.tenants == {}
    assert [it.data.ending for it in of(harness, LeaseEnded)] == ["released"]


def test_what_a_test_does_to_the_terminal_does_not_reach_it(harness: Harness, open_terminal: Open) -> None:
    """Nor can it wait for somebody to type."""
    harness.plan(plan(1, "stty raw -echo </dev/tty && touch reached; [[ -z $(cat) ]] && ! [ -t 0 ]"))
    terminal = open_terminal()
    terminal.run("stty -a >before")
    terminal.await_prompt()
    terminal.run(f"{HARNESS} test")
    assert terminal.exit_code() == 0
    terminal.run("stty -a >after")
    terminal.await_prompt()
    assert not (harness.directory / "reached").exists()
    assert (harness.directory / "before").read_text() == (harness.directory / "after").read_text() != ""
