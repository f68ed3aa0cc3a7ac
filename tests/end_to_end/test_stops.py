"""Runs that are stopped: by signals, by services that die, by the disk."""

import ctypes
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from projects import Harness, eventually

from harness.events import AttemptSpawned, ServiceReady, ServiceStarted, decode

SERVER = """
    [[services]]
    name = "web"
    command = "exec {python} -m http.server --bind 127.0.0.1 {{port}}"
    ready = {{ http = "/" }}
"""
SLOW = """
    [run]
    grace = "60s"
    {run}

    [[phases]]
    name = "p"
""" + "".join(
    f"""
    [[phases.groups]]
    name = "g{n}"
    command = "{{command}}"
    """
    for n in range(5)
)
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def plan(command: str = "sleep 1000", run: str = "", services: str = "") -> str:
    return SLOW.format(command=command, run=run) + services.format(python=sys.executable)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_ends_the_run_and_everything_in_it(harness: Harness, number: int, code: int) -> None:
    harness.plan(plan(services=SERVER))
    process = harness.start("test", "--parallel", "--jobs", "3")
    harness.await_running(3)
    process.send_signal(number)
    ran = harness.finish(process)
    assert ran.code == -number, "the signal is raised again, so that a shell sees it"
    assert ran.report["summary"]["exit_code"] == code
    assert sorted(ran.statuses.values()) == ["interrupted"] * 3 + ["not_run"] * 2
    assert {ran.status_file(group)["STATUS"] for group in ran.statuses} == {"interrupted", "not_run"}
    assert "Traceback" not in ran.stderr
    (started,) = [stamped.data for stamped in ran.events if isinstance(stamped.data, ServiceStarted)]
    assert not is_listening(started.port)
    assert harness.survivors() == []


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_wait_for_the_grace(harness: Harness, second: int) -> None:
    harness.plan(plan("trap '' INT TERM; while :; do sleep 1000; done"))
    process = harness.start("test", "--parallel", "--jobs", "2")
    harness.await_running(2)
    process.send_signal(signal.SIGINT)
    eventually(lambda: "once more" in harness_log(harness), "the first signal's answer")
    process.send_signal(second)
    ran = harness.finish(process)  # in far less than the minute of grace, or this deadline passes
    assert ran.code == -signal.SIGINT
    assert sorted(ran.statuses.values()) == ["interrupted"] * 2 + ["not_run"] * 3


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "tgkill"), reason="this C library sends no signal to a thread")
def test_a_signal_that_another_thread_gets_is_heard(harness: Harness) -> None:
    """The kernel gives the second of two that come at once, as when a terminal is closed, to whichever thread it likes,
    and the main one is asleep."""
    harness.plan(plan())
    process = harness.start("test", "--parallel", "--jobs", "2")
    harness.await_running(2)
    threads = [int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir()]
    ctypes.CDLL(None).tgkill(process.pid, max(threads), signal.SIGTERM)
    ran = harness.finish(process)
    assert ran.code == -signal.SIGTERM
    assert sorted(ran.statuses.values()) == ["interrupted"] * 2 + ["not_run"] * 3


def harness_log(harness: Harness) -> str:
    return "".join(path.read_text() for path in (harness.directory / "logs").glob("run_*/events.jsonl"))


def test_under_nohup_a_hangup_changes_nothing(harness: Harness) -> None:
    harness.plan(plan("until [ -e go ]; do sleep 0.02; done"))
    process = harness.start("test", "--parallel", "--jobs", "5", nohup=True)
    harness.await_running(5)
    process.send_signal(signal.SIGHUP)
    harness.write("go", "")
    assert harness.finish(process).code == 0


def test_pytest_tears_down_when_it_is_stopped(harness: Harness) -> None:
    harness.plan('[[phases]]\nname = "p"\n[[phases.groups]]\nname = "tests"\ntests = "test_long.py"\n')
    harness.write(
        "test_long.py",
        """
        import pathlib, time, pytest

        @pytest.fixture
        def tenant():
            yield
            pathlib.Path("removed").touch()

        def test_long(tenant):
            pathlib.Path("made").touch()
            time.sleep(1000)
        """,
    )
    process = harness.start("test")
    eventually((harness.directory / "made").exists, "the fixture")
    process.send_signal(signal.SIGINT)
    ran = harness.finish(process)
    assert ran.statuses == {"tests": "interrupted"}
    assert (harness.directory / "removed").exists()


def test_a_signal_while_services_start(harness: Harness) -> None:
    never = '[[services]]\nname = "never"\ncommand = "sleep 1000"\nready = {{ tcp = true, timeout = "10m" }}\n'
    harness.plan(plan(services=never))
    process = harness.start("test", "--parallel")
    harness.await_event(ServiceStarted)
    process.send_signal(signal.SIGTERM)
    ran = harness.finish(process)
    assert ran.code == -signal.SIGTERM
    assert set(ran.statuses.values()) == {"not_run"}


def test_a_service_that_does_not_start_is_an_infrastructure_error(harness: Harness) -> None:
    broken = '[[services]]\nname = "db"\ncommand = "echo no such table; exit 4"\nready = {{ tcp = true }}\n'
    harness.plan(plan(services=broken))
    ran = harness.run("test", "--parallel")
    assert ran.code == 3
    assert set(ran.statuses.values()) == {"error"}
    assert "no such table" in ran.stdout
    assert "exit code 4" in ran.stdout


def test_a_service_that_dies_makes_its_victims_errors_at_once(harness: Harness) -> None:
    harness.plan(plan(services=SERVER))
    process = harness.start("test", "--parallel", "--jobs", "2")
    harness.await_event(ServiceReady)
    harness.await_event(AttemptSpawned, 2)
    run = next((harness.directory / "logs").glob("run_*/events.jsonl"))
    events = [decode(line).data for line in run.read_bytes().split(b"\n")[:-1]]
    (service,) = [event for event in events if isinstance(event, ServiceStarted)]
    os.kill(service.pid, signal.SIGKILL)
    ran = harness.finish(process)
    assert ran.code == 3
    assert set(ran.statuses.values()) == {"error"}
    assert "service web" in ran.status_file("g0")["REASON"]


def test_services_start_only_for_those_who_need_them(harness: Harness) -> None:
    harness.plan(
        """
        [[services]]
        name = "broken"
        command = "exit 1"
        ready = { tcp = true }

        [[phases]]
        name = "p"

        [[phases.groups]]
        name = "alone"
        command = "true"
        services = []

        [[phases.groups]]
        name = "needy"
        command = "true"
        """
    )
    assert harness.run("test", "--groups", "alone").code == 0
    assert harness.run("test", "--groups", "needy").code == 3


def test_groups_find_their_services(harness: Harness) -> None:
    harness.plan(
        """
        [environments.local]
        env = { WEB = "{web.url}/" }
        """
        + SERVER.format(python=sys.executable)
        + f"""
        [[phases]]
        name = "p"

        [[phases.groups]]
        name = "asks"
        command = "{sys.executable} -c 'import os, urllib.request; urllib.request.urlopen(os.environ[\\"WEB\\"])'"
        """
    )
    assert harness.run("test").code == 0


def test_a_flood_of_output_does_not_drown_a_signal(harness: Harness) -> None:
    harness.plan(
        """
        [[phases]]
        name = "p"
        [[phases.groups]]
        name = "flood"
        command = "exec yes"
        """
    )
    process = harness.start("test", "--verbose", "--global-timeout", "1s")
    assert process.stdout
    while process.poll() is None and process.stdout.read(65536):
        pass
    ran = harness.finish(process)
    assert (ran.code, ran.statuses) == (1, {"flood": "timed_out"})
