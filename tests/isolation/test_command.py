"""Environments that a command makes: what it wrote reaches tests and teardown, and not the journal."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from projects import eventually

from harness.errors import InfrastructureError
from harness.isolation.command import Command
from harness.isolation.lease import Context, Lease, Made, new_token
from harness.planning.kinds import KINDS
from harness.planning.problems import Problems

SETUP = """
mkdir "things-$HARNESS_LEASE"
echo "# what it made" >> "$HARNESS_ENV"
echo "THING='things-$HARNESS_LEASE' # where" >> "$HARNESS_ENV"
echo "export THING_TOKEN=s3cret-$HARNESS_LEASE" >> "$HARNESS_ENV"
"""
TEARDOWN = 'rm -rf "things-$HARNESS_LEASE"; echo "$THING|$THING_TOKEN|$HARNESS_GROUP" >> torn'


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path, "0f0f", "20260101_000000", {"PATH": os.environ["PATH"], "REGION": "eu"})


def command(context: Context, setup: Any = SETUP, **more: Any) -> Command:
    """As a plan with these keys gives it to the kind."""
    problems = Problems()
    options = KINDS["command"].read({"setup": setup, **more}, (), problems)
    assert problems.found == []
    return Command(options, context)


def lease_of(**more: Any) -> Lease:
    return Lease(new_token(), "thing", "command", "20260101_000000", group="users", slot=3, **more)


def make(kind: Command, lease: Lease) -> tuple[Made, dict[str, str]]:
    """What is handed over, and what the journal learned."""
    learned: dict[str, str] = {}
    assert kind.plan(lease) == {}
    return kind.make(lease, learned.update), learned


def failure(kind: Command, lease: Lease) -> tuple[str, dict[str, str]]:
    """What a user would see, and what the journal learned by then."""
    learned: dict[str, str] = {}
    with pytest.raises(InfrastructureError) as caught:
        kind.make(lease, learned.update)
    return f"{caught.value.message} {caught.value.cure}", learned


def torn(context: Context) -> list[str]:
    return (context.project / "torn").read_text().splitlines()


def journalled(lease: Lease, learned: Mapping[str, str]) -> Lease:
    """The lease as another process finds it."""
    written = msgspec.json.encode(msgspec.structs.replace(lease, details=dict(learned)))
    return msgspec.json.decode(written, type=Lease)


def test_what_setup_wrote_is_handed_over_and_removed(context: Context) -> None:
    kind, lease = command(context, teardown=TEARDOWN), lease_of()
    made, learned = make(kind, lease)
    assert made.variables == {"THING": f"things-{lease.token}", "THING_TOKEN": f"s3cret-{lease.token}"}
    assert made.secret == {"THING_TOKEN"}
    assert made.roles == {}
    assert learned == {}
    assert (context.project / f"things-{lease.token}").is_dir()
    kind.release(lease)
    kind.release(lease)
    assert not (context.project / f"things-{lease.token}").exists()
    assert torn(context) == [f"things-{lease.token}|s3cret-{lease.token}|users"] * 2


def test_another_process_tears_down_without_what_setup_wrote(context: Context) -> None:
    lease = lease_of()
    _, learned = make(command(context, teardown=TEARDOWN), lease)
    teardown = TEARDOWN.replace('"things-$HARNESS_LEASE"', '"$THING"') + '; rm -rf "things-$HARNESS_LEASE"'
    command(context, teardown=teardown).release(journalled(lease, learned))
    assert torn(context) == ["||users"]
    assert not (context.project / f"things-{lease.token}").exists()


def test_what_was_never_made_can_be_torn_down(context: Context) -> None:
    command(context, teardown=TEARDOWN).release(lease_of())
    assert torn(context) == ["||users"]


def test_setup_knows_the_run_and_whose_it_is(context: Context) -> None:
    names = ("HARNESS_LEASE", "HARNESS_GROUP", "HARNESS_PART", "HARNESS_SLOT", "HARNESS_RUN_ID", "REGION", "PWD")
    lines = " ".join(f'"IT_{name}=${name}"' for name in names)
    kind, lease = command(context, f'printf "%s\\n" {lines} > "$HARNESS_ENV"'), lease_of()
    lease = msgspec.structs.replace(lease, part="a.py")
    made, _ = make(kind, lease)
    assert list(made.variables.values()) == [
        lease.token, "users", "a.py", "3", "20260101_000000", "eu", str(context.project)
    ]  # fmt: skip


def test_a_program_with_arguments_needs_no_shell(context: Context) -> None:
    kind = command(context, ["touch", "a file; $HOME"], teardown=["rm", "a file; $HOME"])
    lease = lease_of()
    assert make(kind, lease)[0].variables == {}
    assert (context.project / "a file; $HOME").exists()
    kind.release(lease)
    assert not (context.project / "a file; $HOME").exists()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("GOOD=1\nno equals", "$HARNESS_ENV:2: has no = after the name"),
        ("1X=hunter2", "$HARNESS_ENV:1: does not begin with a variable's name"),
        ('A="hunter2', "$HARNESS_ENV:1: has no closing"),
        ("HARNESS_LEASES=hunter2", "HARNESS_LEASES: names that begin with HARNESS_ are the harness's own"),
    ],
)
def test_a_bad_line_is_named_and_its_value_is_not_shown(context: Context, line: str, complaint: str) -> None:
    message, learned = failure(command(context, f"cat > $HARNESS_ENV <<'END'\n{line}\nEND"), lease_of())
    assert complaint in message
    assert "hunter2" not in message
    assert learned == {}


@pytest.mark.parametrize(
    ("setup", "complaint"),
    [
        ("printf '\\xff' > $HARNESS_ENV", "not UTF-8"),
        ("rm $HARNESS_ENV", "No such file"),
        (["no-such-tool"], "started"),
    ],
)
def test_what_cannot_be_read_or_started(context: Context, setup: Any, complaint: str) -> None:
    assert complaint in failure(command(context, setup), lease_of())[0]


def test_a_setup_that_failed_half_way_is_torn_down_with_what_it_wrote(context: Context) -> None:
    setup = SETUP + "echo to stdout; echo no room for it >&2; exit 3"
    kind, lease = command(context, setup, teardown=TEARDOWN), lease_of()
    message, learned = failure(kind, lease)
    assert message.startswith("setup: exit code 3\n")
    assert "no room for it" in message
    assert learned == {}
    kind.release(lease)
    assert torn(context) == [f"things-{lease.token}|s3cret-{lease.token}|users"]


def test_what_setup_printed_is_shown_where_it_wrote_no_error(context: Context) -> None:
    setup = "for n in 1 2 3 4 5 6 7 8 9; do echo line $n; done; exit 1"
    message, _ = failure(command(context, setup), lease_of())
    assert "line 9" in message
    assert "line 4" not in message


def test_a_secret_that_setup_printed_is_not_shown(context: Context) -> None:
    kind, lease = command(context, SETUP + "echo s3cret-$HARNESS_LEASE is wrong >&2; exit 1"), lease_of()
    message, _ = failure(kind, lease)
    assert "*** is wrong" in message
    assert lease.token not in message


def test_a_secret_that_teardown_printed_is_not_shown(context: Context) -> None:
    kind, lease = command(context, teardown="echo $THING_TOKEN is wrong >&2; exit 1"), lease_of()
    make(kind, lease)
    with pytest.raises(InfrastructureError, match=r"\*\*\* is wrong") as caught:
        kind.release(lease)
    assert lease.token not in caught.value.message


@pytest.mark.parametrize(
    ("line", "secrets", "secret"),
    [
        ("PLAIN=1", [], False),
        ("MY_API_KEY=k-12345678", [], True),
        ("db_password=Pa55word", [], True),
        ("MY_API_KEY=k-12345678", ["OTHER"], False),
        ("PLAIN=1", ["PLAIN"], True),
        ("DSN=postgres://me:Pa55word@host/db", [], True),
        ("DSN=postgres://me:Pa55word@host/db", ["OTHER"], True),
        ("DSN=postgres://me@host/db", [], False),
    ],
)
def test_what_is_a_secret(context: Context, line: str, secrets: list[str], secret: bool) -> None:
    made, _ = make(command(context, f"echo {line} > $HARNESS_ENV", secrets=secrets), lease_of())
    assert (line.partition("=")[0] in made.secret) == secret


@pytest.mark.parametrize("ending", ["", "exit 1"])
@pytest.mark.parametrize("line", ["SMTP_PASS=hunter2", "DSN=mongodb://u:pw@a,b/c", "PLAIN=1"])
def test_nothing_that_setup_wrote_reaches_the_journal(context: Context, line: str, ending: str) -> None:
    kind = command(context, f"echo {line} > $HARNESS_ENV; {ending}")
    told: list[Mapping[str, str]] = []
    with suppress(InfrastructureError):
        kind.make(lease_of(), told.append)
    assert told == []


def test_a_setup_is_broken_off_when_the_run_stops_and_torn_down(context: Context) -> None:
    setup = SETUP + "echo $$ > pid; sleep 600 & wait"
    kind, lease = command(context, setup, teardown=TEARDOWN, timeout=600), lease_of()
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(failure, kind, lease)
        eventually(lambda: (context.project / "pid").exists(), "a setup that runs")
        context.stopping.set()
        assert "setup: was broken off: the run stops" in making.result(timeout=30)[0]
    kind.release(lease)
    assert torn(context) == [f"things-{lease.token}|s3cret-{lease.token}|users"]
    assert not (context.project / f"things-{lease.token}").exists()


def test_both_end_by_their_deadline(context: Context) -> None:
    slow = "echo $$ > pid; sleep 600 & wait"
    kind = command(context, slow, teardown=slow, timeout=0.5)
    lease = lease_of()
    for stage in (lambda: make(kind, lease), lambda: kind.release(lease)):
        with pytest.raises(InfrastructureError, match=r"no end after 0\.5 s"):
            stage()
        pid = int((context.project / "pid").read_text())
        eventually(lambda pid=pid: not Path(f"/proc/{pid}").exists(), "the end of the command")


def test_without_teardown_nothing_is_run(context: Context) -> None:
    kind, lease = command(replace(context, variables={}), ["/bin/sh", "-c", "echo A=1 > $HARNESS_ENV"]), lease_of()
    make(kind, lease)
    kind.release(lease)


def test_the_file_is_private_and_gone_afterwards(context: Context) -> None:
    show = 'echo MODE=$(ls -ld "$(dirname $HARNESS_ENV)" | cut -c 1-10) > $HARNESS_ENV'
    assert make(command(context, show), lease_of())[0].variables == {"MODE": "drwx------"}
    assert list((context.project / ".harness" / "setup").iterdir()) == []


def test_the_file_of_a_setup_that_failed_goes_with_the_release(context: Context) -> None:
    lease = lease_of()
    failure(command(context, "exit 1"), lease)
    command(context).release(lease)
    assert list((context.project / ".harness" / "setup").iterdir()) == []


def test_a_place_that_cannot_be_made_is_named(context: Context) -> None:
    (context.project / ".harness").write_text("a file")
    assert f"{context.project}/.harness/setup" in failure(command(context), lease_of())[0]


def test_many_at_a_time_do_not_mix(context: Context) -> None:
    kind = command(context, teardown='rmdir "$THING"')

    def one(_: int) -> None:
        lease = lease_of()
        assert make(kind, lease)[0].variables["THING"] == f"things-{lease.token}"
        kind.release(lease)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(24)))
    assert not list(context.project.glob("things-*"))
