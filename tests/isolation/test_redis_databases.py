"""Databases of a real Redis as leases: never one number twice, whoever asks, dies, flushes or sleeps."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from projects import eventually

from harness.errors import InfrastructureError
from harness.isolation.label import FOREVER, Label, read_label
from harness.isolation.lease import Context, Lease, Made, new_token
from harness.isolation.redis import databases as redis_databases
from harness.isolation.redis.kind import Redis

OPTIONS = {"make": "database", "databases": None, "variable": "CACHE", "prefix_variable": "PREFIX", "ignore": []}
CLAIMS = "harness:lease:"

MakeKind = Callable[..., Redis]


@pytest.fixture
def url(redis_url: str) -> Iterator[str]:
    """An empty Redis with sixteen databases."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield redis_url
        client.flushall()


@pytest.fixture
def make_kind(url: str, context: Context) -> Iterator[MakeKind]:
    made = []

    def make(run_id: str = "20260101_000000", project_id: str = "0f0f", **options: Any) -> Redis:
        kind = Redis(OPTIONS | {"url": url} | options, context_of(context, run_id=run_id, project_id=project_id))
        made.append(kind)
        return kind

    yield make
    for kind in made:
        kind.close()


def context_of(context: Context, run_id: str, project_id: str) -> Context:
    return dataclasses.replace(context, project_id=project_id, run_id=run_id)


def lease_of(group: str = "search", run_id: str = "20260101_000000") -> Lease:
    return Lease(new_token(), "cache", "redis", run_id, group)


def make(kind: Redis, lease: Lease) -> tuple[Lease, Made]:
    details: dict[str, str] = dict(kind.plan(lease))
    made = kind.make(lease, details.update)
    return msgspec.structs.replace(lease, details=details), made


def number_of(made: Made) -> int:
    return int(made.variables["CACHE"].rpartition("/")[2])


def at(url: str, number: int = 0) -> "redis.Redis":
    return redis.Redis.from_url(f"{url}/{number}", decode_responses=True)


def label(seconds: float, project_id: str = "0f0f") -> str:
    return str(Label(new_token(), "20250101_000000", project_id, int(time.time() + seconds)))


def claims(url: str) -> dict[int, str]:
    with at(url) as client:
        return {int(key.removeprefix(CLAIMS)): client.get(key) for key in client.scan_iter(f"{CLAIMS}*")}


def test_a_lease_is_an_empty_database_that_is_claimed(make_kind: MakeKind, url: str) -> None:
    kind = make_kind()
    lease, made = make(kind, lease_of())
    number = number_of(made)
    assert made == ({"CACHE": f"{url}/{number}"}, {"url": "CACHE"}, frozenset())
    assert lease.details == {"database": str(number)}
    assert 1 <= number <= 15
    (claim,) = claims(url).values()
    assert read_label(claim)[:3] == (lease.token, lease.run_id, "0f0f")  # type: ignore[index]
    with at(url, number) as client:
        client.set("word", "x")
    kind.release(lease)
    kind.release(lease)
    with at(url) as client:
        assert client.info("keyspace") == {}, "nothing is left on the whole server"


def test_a_sentinel_gets_no_database(make_kind: MakeKind, url: str) -> None:
    kind = make_kind()
    sentinel, made = make(kind, lease_of(group=""))
    kind.renew(sentinel)
    assert not made.variables
    assert claims(url) == {}
    kind.release(sentinel)


def test_what_is_in_use_is_not_handed_out(make_kind: MakeKind, url: str) -> None:
    kind = make_kind(databases=[2, 3, 4, 5, 6])
    with at(url, 2) as filled, at(url, 3) as connected, at(url) as home:
        filled.set("theirs", "x")
        connected.ping()
        home.set(f"{CLAIMS}4", label(60))
        home.set(f"{CLAIMS}5", "something that is no label")
        assert kind.capacity()[:3] == (
            1,
            "16 databases, 5 that `databases` names, 3 in use by others, 1 leased by other runs, 1 kept for the claims",
            2,
        )
        _, made = make(kind, lease_of())
        assert number_of(made) == 6
        assert "1 leased by other runs, 1 leased by this run" in kind.capacity().said  # type: ignore[union-attr]


def test_a_claim_that_is_over_is_emptied_and_taken_when_nothing_else_is_free(make_kind: MakeKind, url: str) -> None:
    kind = make_kind(databases=[2, 3])
    with at(url) as home, at(url, 2) as theirs:
        home.set(f"{CLAIMS}2", label(-1, project_id="beef"))
        theirs.set("word", "left by a dead run")
        assert kind.capacity()[:3] == (2, "16 databases, 2 that `databases` names, 1 kept for the claims", 2)
        first, made = make(kind, lease_of())
        assert number_of(made) == 3
        assert theirs.get("word"), "what a dead run left, or somebody keeps, stays as long as there is another"
        connection = theirs.connection_pool.get_connection()
        second, made = make(kind, lease_of())
        assert number_of(made) == 2
        assert read_label(home.get(f"{CLAIMS}2")).token == second.token  # type: ignore[union-attr]
        with pytest.raises(redis.ConnectionError):  # the dead run's tests are cut off
            connection.read_response()
        assert at(url, 2).dbsize() == 0
    for lease in (first, second):
        kind.release(lease)


def test_when_there_is_none_left_make_waits_for_another_run(make_kind: MakeKind) -> None:
    kind, other = make_kind(databases=[4]), make_kind(databases=[4], run_id="20260101_000001")
    lease, _ = make(kind, lease_of())
    waits = threading.Event()
    with ThreadPoolExecutor() as pool:

        def take() -> Made:
            waits.set()
            return make(other, lease_of())[1]

        later = pool.submit(take)
        assert waits.wait(30)
        assert not later.done()
        kind.release(lease)
        assert number_of(later.result(60)) == 4


def test_who_waits_too_long_is_told_the_numbers(make_kind: MakeKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_databases, "WAIT", 0.0)
    kind = make_kind(databases=[4])
    make(kind, lease_of())
    with pytest.raises(
        InfrastructureError, match=r"16 databases, 1 that `databases` names, 1 leased by this run, 1 kept"
    ):
        make(kind, lease_of())


def test_who_waits_is_told_when_the_run_stops_and_a_release_does_not_care(
    make_kind: MakeKind, context: Context
) -> None:
    kind = make_kind(databases=[4])
    lease, _ = make(kind, lease_of())
    context.stopping.set()
    with pytest.raises(InfrastructureError, match=r"no database was free on the Redis at .*, and the run stops"):
        make(kind, lease_of())
    kind.release(lease)
    assert kind.capacity().free == 1  # type: ignore[union-attr]


def test_entries_tell_whether_they_use_up_the_same_databases(make_kind: MakeKind, url: str) -> None:
    where = url.removeprefix("redis://")
    kinds = [make_kind(), make_kind(), make_kind(databases=[4, 3]), make_kind(databases=[3, 4])]
    same, too, some, others = [kind.capacity().server for kind in kinds]  # type: ignore[union-attr]
    assert same == too == f"redis {where}"
    assert some == others == f"redis {where}, databases [3, 4]"


def test_the_claim_of_a_kept_lease_is_never_over(
    make_kind: MakeKind, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = make_kind(databases=[4])
    lease, _ = make(kind, lease_of())
    kind.renew(msgspec.structs.replace(lease, kept=True))
    (claim,) = claims(url).values()
    assert read_label(claim).until == FOREVER  # type: ignore[union-attr]
    another = make_kind(databases=[4], run_id="20260101_000001")
    monkeypatch.setattr(redis_databases, "WAIT", 0.0)
    with pytest.raises(InfrastructureError, match="1 leased by other runs"):
        make(another, lease_of())
    another.release(lease)
    assert claims(url) == {}


def test_numbers_that_the_server_has_not_are_named(make_kind: MakeKind) -> None:
    with pytest.raises(InfrastructureError, match="has no database 40: it has 16, from 0"):
        make_kind(databases=[3, 40]).capacity()


def test_only_a_claim_with_our_token_is_removed(make_kind: MakeKind, url: str) -> None:
    kind = make_kind(databases=[4])
    lease, _ = make(kind, lease_of())
    with at(url) as home, at(url, 4) as database:
        theirs = label(60)
        home.set(f"{CLAIMS}4", theirs)
        database.set("word", "theirs")
        with pytest.raises(
            InfrastructureError, match=r"database 4 .* leased to search, belongs to somebody else by now"
        ):
            kind.renew(lease)
        kind.release(lease)
        assert database.get("word") == "theirs"
        assert home.get(f"{CLAIMS}4") == theirs


def test_who_takes_a_claim_at_the_very_moment_of_the_release_keeps_it(
    make_kind: MakeKind, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, theirs = make_kind(databases=[4]), label(60)
    lease, _ = make(kind, lease_of())
    with at(url) as home, at(url, 4) as database:

        def overtaken(_self: redis_databases.Databases, _number: int) -> None:
            home.set(f"{CLAIMS}4", theirs)
            database.set("word", "theirs")

        monkeypatch.setattr(redis_databases.Databases, "_disconnect", overtaken)
        kind.release(lease)
        assert database.get("word") == "theirs"
        assert home.get(f"{CLAIMS}4") == theirs


def test_a_run_that_slept_for_too_long_does_not_take_its_own_number_twice(make_kind: MakeKind, url: str) -> None:
    kind = make_kind(databases=[4, 5])
    lease, made = make(kind, lease_of())
    with at(url) as home:
        home.set(f"{CLAIMS}{number_of(made)}", str(Label(lease.token, lease.run_id, "0f0f", 5)))
    assert kind.capacity()[:3] == (
        1,
        "16 databases, 2 that `databases` names, 1 leased by this run, 1 kept for the claims",
        2,
    )


def test_renewing_lengthens_the_label_also_in_another_process_and_never_makes_one(
    make_kind: MakeKind, url: str
) -> None:
    kind, gc = make_kind(), make_kind()
    lease, made = make(kind, lease_of())
    key = f"{CLAIMS}{number_of(made)}"
    with at(url) as home:
        home.set(key, str(Label(lease.token, lease.run_id, "0f0f", 5)))
        gc.renew(lease)
        assert read_label(home.get(key)).until > 5  # type: ignore[union-attr]
        kind.release(lease)
        for each in (kind, gc):
            each.renew(lease)
        assert home.dbsize() == 0, "a heartbeat that comes late does not bring a released lease back"


def test_a_test_that_flushes_everything_takes_nobodys_number_away(make_kind: MakeKind, url: str) -> None:
    kind, other = make_kind(databases=[4, 5]), make_kind(databases=[4, 5], run_id="20260101_000001")
    lease, made = make(kind, lease_of())
    own, free = number_of(made), 9 - number_of(made)
    with at(url, own) as database:
        database.flushall()
    assert kind.capacity().free == 1  # type: ignore[union-attr]
    kind.renew(lease)
    assert claims(url).keys() == {own}
    _, made = make(other, lease_of())
    assert number_of(made) == free
    with at(url, own) as database:
        database.flushall()
        database.set("word", "written at the end")
        kind.release(lease)
        assert database.dbsize() == 0


def test_release_finds_its_number_by_the_token_alone(make_kind: MakeKind, url: str) -> None:
    kind, gc = make_kind(), make_kind()
    lease = lease_of()
    kind.make(lease, lambda _details: None)  # as if killed before it could be written down
    other, made = make(kind, lease_of())
    gc.release(lease)
    assert claims(url).keys() == {number_of(made)}
    gc.release(other)
    assert claims(url) == {}


def test_expired_are_those_of_this_project_whose_label_is_over(make_kind: MakeKind, url: str) -> None:
    kind = make_kind()
    mine = label(-200)
    with at(url) as home, at(url, 3) as database:
        for number, claim in ((3, mine), (4, label(60)), (5, label(-200, project_id="beef")), (6, "nobody's")):
            home.set(f"{CLAIMS}{number}", claim)
        database.set("word", "x")
        (lease,) = kind.expired()
        assert (lease.token, lease.run_id) == read_label(mine)[:2]  # type: ignore[index]
        kind.release(lease)
        assert database.dbsize() == 0
        assert claims(url).keys() == {4, 5, 6}


def test_connections_to_the_database_outlive_the_group_as_leftovers_and_end_with_the_lease(
    make_kind: MakeKind, url: str
) -> None:
    kind = make_kind()
    lease, made = make(kind, lease_of())
    number = number_of(made)
    assert kind.leftovers(lease) == []
    with at(url, number) as client, at(url) as elsewhere:
        client.ping()
        elsewhere.ping()
        (said,) = kind.leftovers(lease)
        assert said.endswith(f" is still connected to database {number}")
        connection = client.connection_pool.get_connection()
        kind.release(lease)
        with pytest.raises(redis.ConnectionError):
            connection.read_response()
        assert elsewhere.ping()


def test_a_process_that_has_ended_leaves_no_connection(make_kind: MakeKind) -> None:
    kind = make_kind()
    lease, made = make(kind, lease_of())
    script = f"import redis, os; redis.Redis.from_url({made.variables['CACHE']!r}).ping(); os._exit(0)"
    for _ in range(5):
        subprocess.run([sys.executable, "-c", script], check=True)
        assert kind.leftovers(lease) == []


# --- sixteen groups, fourteen numbers ---


def test_sixteen_groups_never_have_one_number_twice(make_kind: MakeKind, url: str) -> None:
    with at(url, 7) as theirs:
        theirs.set("word", "theirs")
        kind = make_kind()
        assert kind.capacity()[:3] == (14, "16 databases, 1 in use by others, 1 kept for the claims", 14)
        out: set[int] = set()
        lock, together = threading.Lock(), threading.Barrier(16)

        def group(_index: int) -> None:
            together.wait(30)
            for _ in range(4):
                lease, made = make(kind, lease_of())
                with lock:
                    assert number_of(made) not in out | {0, 7}
                    out.add(number_of(made))
                with at(url, number_of(made)) as client:
                    assert client.set("whose", lease.token, nx=True), "the database was not empty"
                    assert client.get("whose") == lease.token
                with lock:
                    out.remove(number_of(made))
                kind.release(lease)

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(group, range(16)))
        assert theirs.get("word") == "theirs"
        theirs.flushdb()
    with at(url) as home:
        assert home.info("keyspace") == {}


CHURN = """
import os, sys, threading
from pathlib import Path
import redis
from harness.isolation.lease import Context, Lease, new_token
from harness.isolation.redis.kind import Redis

url, run_id, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
options = {"url": url, "make": "database", "databases": None, "variable": "U", "prefix_variable": "P", "ignore": []}
kind = Redis(options, Context(Path(), "0f0f", run_id, {}))
wrong = []

def group():
    for _ in range(rounds):
        lease = Lease(new_token(), "cache", "redis", run_id, "g")
        made = kind.make(lease, lambda details: None)
        with redis.Redis.from_url(made.variables["U"], decode_responses=True) as client:
            if not client.set("whose", lease.token, nx=True) or client.get("whose") != lease.token:
                wrong.append(made.variables["U"])
            os.write(1, b"made\\n")  # one write, as print's need not be: the other threads write there too
            if client.dbsize() != 1 or client.get("whose") != lease.token:
                wrong.append(made.variables["U"])
        kind.release(lease)

threads = [threading.Thread(target=group) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.exit(str(wrong) if wrong else 0)
"""


def test_four_processes_of_four_threads_one_of_them_killed(make_kind: MakeKind, url: str) -> None:
    processes = []
    for index, rounds in enumerate(("1000000", "5", "5", "5")):
        command = [sys.executable, "-c", CHURN, url, f"2026010{index}_000000", rounds]
        environment = os.environ | {"PYTHONPATH": str(Path(redis_databases.__file__).parents[2])}
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True))
    victim, *others = processes
    try:
        assert victim.stdout
        for _ in range(6):
            assert victim.stdout.readline() == "made\n"
        victim.send_signal(signal.SIGKILL)
        victim.communicate(timeout=60)
        for process in others:
            process.communicate(timeout=120)
            assert process.returncode == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()
    left = [read_label(claim) for claim in claims(url).values()]
    assert {claim.run_id for claim in left if claim} <= {"20260100_000000"}
    gc = make_kind()
    for claim in left:
        assert claim
        gc.release(Lease(claim.token, "cache", "redis", claim.run_id, "g"))
    with at(url) as home:
        # What the victim had sent last may arrive a moment after its end.
        eventually(lambda: home.info("keyspace") == {}, "an empty server")
