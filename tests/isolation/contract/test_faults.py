"""What is left of a lease after a fault, or a death, at any moment of its making: nothing.

Every step of the making is tried in turn: on a server's wire (wire.py), or where this machine is asked for something
(workshop.py). Who died did not release anything; a sweep of another process does, by its journal.
"""

import random
from pathlib import Path
from typing import Any

import pytest
from isolation.contract.conftest import Setting, Workshop
from isolation.contract.wire import Wire
from isolation.contract.world import OTHER_PROJECT_ID, OTHER_RUN, World, finish, lease_with
from projects import eventually

from harness.isolation.journal import Journal, all_standing
from harness.isolation.lease import Kind
from harness.isolation.sweep import Swept, sweep, sweep_expired

STEPS = 200  # more than any making has
KILLED = -9
DEATHS = 10


def clean_up(world: World, journals: Path) -> Swept:
    """What `gc` does."""
    world.settle()
    kind = world.make_kind(OTHER_RUN)
    swept = sweep(journals, lambda _entry, _kind: kind)
    sweep_expired({"entry": kind}, swept, all_standing(journals))
    kind.close()
    return swept


class Faults:
    """A fault at one step of a lease's life."""

    def __init__(self, setting: Setting, workshop: Workshop, wire: Wire) -> None:
        self.hows = setting.world.hows if setting.world.server else ("before",)
        self._by_wire = bool(setting.world.server)
        self._workshop, self._wire = workshop, wire

    def happen(self, step: int, how: str, *, kills: bool) -> dict[str, Any]:
        """How the life of the lease ended; `reached` is whether it was so long."""
        pids: list[int] = []
        if self._by_wire:
            self._wire.breaks_at(step, how, (lambda: wait_for(pids)) if kills else None)  # type: ignore[arg-type]
        pids.append(self._workshop.order("once", at=0 if self._by_wire else step, kills=kills))
        ended = self._workshop.hear()
        reached = self._wire.broken if self._by_wire else ended.get("steps", step) >= step
        return {**ended, "reached": reached}


def wait_for(pids: list[int]) -> int:
    """The pid that the workshop is just telling."""
    eventually(lambda: bool(pids), "the pid of the workshop's child")
    return pids[0]


@pytest.fixture
def faults(setting: Setting, workshop: Workshop, wire: Wire) -> Faults:
    return Faults(setting, workshop, wire)


@pytest.mark.slow
def test_a_fault_at_any_step_leaves_nothing(world: World, faults: Faults) -> None:
    before = world.inventory()
    for how in faults.hows:
        for step in range(1, STEPS):
            ended = faults.happen(step, how, kills=False)
            assert ended["code"] == 0, f"{how} step {step}: it failed with something else, or could not be released"
            assert world.inventory() == before, f"{how} step {step}: {ended}"
            if not ended["reached"]:
                break
        assert 1 < step < STEPS - 1, f"no fault was planted: {how}, {step}"


@pytest.mark.slow
def test_a_death_at_any_step_leaves_nothing_after_a_sweep(world: World, faults: Faults, workshop: Workshop) -> None:
    before = world.inventory()
    for how in faults.hows:
        codes = []
        for step in range(1, STEPS):
            ended = faults.happen(step, how, kills=True)
            swept = clean_up(world, workshop.journals)
            assert swept.left == []
            assert world.inventory() == before, f"{how} step {step}: {ended}, {swept}"
            assert not list(workshop.journals.glob("*.jsonl")), "a journal in which nothing is left is removed"
            codes.append(ended["code"])
            if not ended["reached"]:
                break
        # Who says goodbye to a server, in the middle or at the end, may have ended before he can be killed.
        assert codes[0] == KILLED, f"{how}: nobody died"
        assert codes.count(0) <= 4, f"{how}: {codes}"
        assert codes[-1] == 0


def stand(kind: Kind, world: World, journal: Journal | None) -> None:
    """Makes a lease that stays."""
    lease = lease_with(kind, world.new_lease(kind.context.run_id))  # type: ignore[attr-defined]
    if journal:
        journal.making(lease, kind.durable)
    finish(kind, lease, journal.learned if journal else lambda _token, _details: None)


def test_of_a_run_that_died_at_a_random_moment_a_sweep_takes_down_all_and_nothing_else(
    setting: Setting, workshop: Workshop, wire: Wire
) -> None:
    world = setting.world
    rest = world.inventory()
    living = Journal.open(workshop.journals, OTHER_RUN)
    ours, others = world.make_kind(OTHER_RUN), world.make_kind(OTHER_RUN, OTHER_PROJECT_ID)
    stand(ours, world, living)
    stand(others, world, None)
    world.plant()
    before = world.inventory()
    assert len(before) > len(rest), "there are bystanders"
    chance = random.Random(setting.name)
    for death in range(DEATHS):
        moment = chance.randint(10, 400)
        pids: list[int] = []
        if world.server:
            wire.breaks_at(moment, chance.choice(world.hows), lambda pids=pids: wait_for(pids))  # type: ignore[arg-type, misc]
        pids.append(workshop.order("churn", at=0 if world.server else moment))
        assert workshop.hear()["code"] == KILLED
        swept = clean_up(world, workshop.journals)
        assert swept.left == []
        assert world.inventory() == before, f"death {death} at {moment}: {swept}"
    for standing in list(living.standing.values()):
        ours.release(standing.lease)
