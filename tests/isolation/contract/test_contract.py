"""What every kind of isolated environment must keep to."""

import json
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil
import pytest
from isolation.contract.conftest import Setting, Workshop
from isolation.contract.tenants import PLATFORM_KEY
from isolation.contract.world import OTHER_RUN, World, lease_with, make
from projects import eventually

from harness.isolation.lease import TERM, Kind, Lease, Made

LEASES = 200
AT_ONCE = 16


@pytest.fixture
def kind(world: World) -> Any:
    kind = world.make_kind()
    yield kind
    kind.close()


def make_and_release(world: World, kind: Kind, count: int) -> None:
    """Leases by so many threads as there may be groups at once; no value is ever two living leases'."""
    living: set[str] = set()
    lock = threading.Lock()

    def one(number: int) -> None:
        lease, made = make(kind, world.new_lease(number=number))
        values = world.exclusive(made.variables)
        with lock:
            assert not living & values, f"two leases at once have {living & values}"
            living.update(values)
        world.use(made.variables)
        with lock:
            living.difference_update(values)
        kind.release(lease)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, range(count)))


def test_of_two_hundred_leases_by_sixteen_at_a_time_nothing_is_left(world: World) -> None:
    before = world.inventory()
    first = world.make_kind()
    make_and_release(world, first, AT_ONCE)  # what is opened once for good is open after these
    first.close()
    descriptors = psutil.Process().num_fds()
    kind = world.make_kind()
    make_and_release(world, kind, LEASES)
    kind.close()
    assert world.inventory() == before
    # The other ends of its connections may be in this process too, and notice it a moment later.
    eventually(lambda: psutil.Process().num_fds() <= descriptors, "a closed kind that holds nothing")


def test_a_lease_says_what_its_variables_are_for_and_no_secret_in_its_details(world: World, kind: Kind) -> None:
    lease, made = make(kind, world.new_lease())
    try:
        assert set(made.roles) == world.roles
        assert set(made.roles.values()) <= set(made.variables)
        assert made.secret <= set(made.variables)
        journalled = msgspec.json.encode(lease).decode()
        for name in made.secret:
            secret = urlsplit(made.variables[name]).password or made.variables[name]
            assert secret not in journalled, name
        assert PLATFORM_KEY not in journalled + json.dumps(dict(made.variables))
        assert kind.hidden == ({world.key_variable} if world.key_variable else set())
        assert all(isinstance(value, str) for value in (*made.variables.values(), *lease.details.values()))
    finally:
        kind.release(lease)


def test_planning_changes_nothing(world: World, kind: Kind) -> None:
    before = world.inventory()
    kind.plan(world.new_lease())
    assert world.inventory() == before


def test_what_was_planned_and_never_made_is_released_without_harm(world: World, kind: Kind) -> None:
    before = world.inventory()
    kind.release(lease_with(kind, world.new_lease()))
    assert world.inventory() == before


def test_a_lease_that_is_released_twice_does_no_harm(world: World, kind: Kind) -> None:
    before = world.inventory()
    lease, _ = make(kind, world.new_lease())
    kind.release(lease)
    kind.release(lease)
    assert world.inventory() == before


def test_a_release_that_comes_late_touches_nothing_that_was_made_since(world: World, kind: Kind) -> None:
    before = world.inventory()
    early, _ = make(kind, world.new_lease())
    kind.release(early)
    since = [make(kind, world.new_lease(number=number)) for number in range(4)]
    there = world.inventory()
    kind.release(early)
    assert world.inventory() == there
    for lease, made in since:
        world.use(made.variables)
        kind.release(lease)
    assert world.inventory() == before


def test_a_lease_that_lost_a_part_is_released_whole(world: World, kind: Kind) -> None:
    before = world.inventory()
    for number in range(len(world.damages(*sample(world, kind)))):
        lease, made = make(kind, world.new_lease())
        world.use(made.variables)
        world.damages(lease, made)[number]()
        kind.release(lease)
        kind.release(lease)
        assert world.inventory() == before, f"damage {number}"


def sample(world: World, kind: Kind) -> tuple[Lease, Made]:
    """A lease that is no more."""
    lease, made = make(kind, world.new_lease())
    kind.release(lease)
    return lease, made


def test_another_process_releases_from_the_journals_words_alone(world: World, kind: Kind) -> None:
    before = world.inventory()
    lease, made = make(kind, world.new_lease())
    world.use(made.variables)
    assert world.inventory() != before
    kind.close()
    other = world.make_kind(OTHER_RUN)
    other.release(msgspec.json.decode(msgspec.json.encode(lease), type=Lease))
    other.close()
    assert world.inventory() == before


def test_what_is_renewed_is_not_expired_and_what_is_not_is_found_by_its_label(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.inventory()
    kind = world.make_kind()
    renewed, _ = make(kind, world.new_lease())
    for name, module in list(sys.modules.items()):
        if name.startswith("harness.isolation.") and hasattr(module, "TERM"):
            monkeypatch.setattr(module, "TERM", -TERM)
    forgotten, _ = make(kind, world.new_lease())
    kind.renew(forgotten)
    monkeypatch.undo()
    kind.renew(renewed)
    kind.close()
    other = world.make_kind(OTHER_RUN)
    expired = other.expired()
    assert {lease.token for lease in expired} == ({forgotten.token} if world.labelled else set())
    for lease in expired if world.labelled else [forgotten]:
        other.release(lease)
    other.release(renewed)
    other.close()
    assert world.inventory() == before


def test_what_leases_do_in_what_is_theirs_is_no_finding(world: World, kind: Kind) -> None:
    sentinel = make(kind, world.new_lease(group=""))[0] if kind.wants_sentinel else None
    calm = kind.look(sentinel)
    lease, made = make(kind, world.new_lease())
    world.use(made.variables)
    assert kind.look(sentinel) == calm
    assert list(kind.leftovers(lease)) == []
    kind.release(lease)
    assert kind.look(sentinel) == calm
    if sentinel:
        kind.release(sentinel)


def test_two_runs_at_once_have_no_value_in_common(
    setting: Setting, workshop: Workshop, second_workshop: Workshop
) -> None:
    before = setting.world.inventory()
    values: list[str] = []
    workshops = (workshop, second_workshop)
    for run in workshops:
        run.order("hold", count=20)
    for run in workshops:
        values += run.hear()["values"]
    assert len(values) == len(set(values))
    for run in workshops:
        run.tell({})
    assert [run.hear()["code"] for run in workshops] == [0, 0]
    assert setting.world.inventory() == before


def test_the_capacity_is_told_with_numbers(world: World, kind: Kind) -> None:
    capacity = kind.capacity()
    bounded: Mapping[str, bool] = {"postgres": True, "ports": True, "tenant": False, "tmpdir": False, "command": False}
    if not bounded.get(world.kind, "database" in str(world.keys().get("make"))):
        assert capacity is None
    else:
        assert capacity is not None
        assert capacity.free > AT_ONCE
        assert any(character.isdigit() for character in capacity.said)
