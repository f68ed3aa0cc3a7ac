"""The life of leases, whatever their kind: journalled before they are made, released whatever happens, swept later."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from boxes import Boxes, box
from projects import eventually

from harness.errors import InfrastructureError
from harness.events import AnyEvent, LeaseEnded, LeaseMade, Warned
from harness.isolation import leases as module
from harness.isolation.journal import Journal, all_standing
from harness.isolation.lease import Context, Kind
from harness.isolation.leases import Leases
from harness.isolation.sweep import Swept, sweep, sweep_expired
from harness.masking import Secrets


class World:
    """A run's leases of one kind, and all that it tells."""

    def __init__(self, context: Context) -> None:
        self.journals = context.project / "leases"
        self.kind = Boxes(context, context.project / "boxes")
        self.events: list[AnyEvent] = []
        self.journal = Journal.open(self.journals, context.run_id)
        self.leases = Leases(self.journal, {"box": self.kind}, self.events.append, Secrets())

    def told(self, kind: type) -> list[AnyEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    def sweep(self, **how: Any) -> Swept:
        return sweep(self.journals, lambda entry, _kind: self.kind if entry == "box" else None, **how)


@pytest.fixture
def world(context: Context) -> Iterator[World]:
    made = World(context)
    yield made
    if made.leases._heart.is_alive():
        made.kind.fails.clear()
        made.leases.close()


def test_it_stands_in_the_journal_before_it_is_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bool] = []
    make = world.kind.make
    monkeypatch.setattr(
        world.kind,
        "make",
        lambda lease, learned: written.append(lease.token in world.journal.path.read_text()) or make(lease, learned),
    )
    lease, made = world.leases.make(box(group="g", attempt=1))
    assert written == [True]
    assert made.variables == {"BOX": f"box-{lease.token}"}
    assert lease.details == {"box": f"box-{lease.token}", "lid": f"lid-{lease.token}"}
    (event,) = world.told(LeaseMade)
    assert (event.token, event.group, event.details) == (lease.token, "g", lease.details)  # type: ignore[attr-defined]


def test_half_made_and_failed_nothing_is_left(world: World) -> None:
    world.kind.fails.add("make")
    with pytest.raises(
        InfrastructureError, match=r"\[isolation.box\] could not be made: the lid does not fit"
    ) as caught:
        world.leases.make(box())
    assert caught.value.cure == "Take another one."
    assert world.kind.inventory == set()
    world.leases.close()
    assert list(world.journals.iterdir()) == []


def test_what_cannot_be_released_is_leaked_and_the_next_sweep_removes_it(world: World) -> None:
    lease, _ = world.leases.make(box())
    world.kind.fails.add("release")
    assert not world.leases.release(lease)
    (ended,) = world.told(LeaseEnded)
    assert (ended.ending, ended.reason) == ("leaked", "the box is nailed down")  # type: ignore[attr-defined]
    (warned,) = world.told(Warned)
    assert "was not released: the box is nailed down; the next run tries again, or `gc`" in warned.message  # type: ignore[attr-defined]
    world.leases.close()
    assert world.sweep().left == [(lease, "the box is nailed down")]
    world.kind.fails.clear()
    assert world.sweep().released == [lease]
    assert world.kind.inventory == set()
    assert list(world.journals.iterdir()) == []


def test_closing_releases_all_that_is_out_the_last_made_first(world: World) -> None:
    made = [world.leases.make(box())[0].token for _ in range(3)]
    world.leases.close()
    assert world.kind.released == made[::-1]
    assert world.kind.inventory == set()


def test_what_is_kept_stays_until_it_is_asked_for(world: World) -> None:
    kept, _ = world.leases.make(box())
    world.leases.make(box())
    world.leases.keep(kept)
    world.leases.close()
    assert world.kind.inventory == set(kept.details.values())
    assert world.sweep().kept == [kept]
    assert world.sweep(with_kept=True).released == [kept]
    assert world.kind.inventory == set()


def test_a_sweep_releases_the_last_made_first(world: World) -> None:
    made = [world.leases.make(box())[0].token for _ in range(3)]
    world.kind.fails.add("release")
    world.leases.close()
    world.kind.fails.clear()
    world.sweep()
    assert world.kind.released == made[::-1]


def test_a_living_run_is_not_swept(world: World) -> None:
    world.leases.make(box())
    assert world.sweep() == Swept()
    assert len(world.kind.inventory) == 2


def test_what_no_kind_at_work_knows_is_left_alone(world: World) -> None:
    other = box(entry="other")
    world.journal.making(other, durable=False)
    world.leases.close()
    assert world.sweep().left == [(other, "")]


def test_labels_that_are_over_are_released_but_for_what_a_journal_speaks_of(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, kept = (world.leases.make(box())[0] for _ in range(2))
    found = [
        msgspec.structs.replace(lease, entry="") for lease in (lost, kept)
    ]  # a label does not say which entry it was
    monkeypatch.setattr(world.kind, "expired", lambda: found)
    swept = Swept()
    kinds: dict[str, Kind] = {"box": world.kind}
    sweep_expired(kinds, swept, {kept.token})
    assert swept.released == [lost]


def test_leases_that_are_out_are_renewed(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RENEW", 0.001)
    world = World(context)
    released, out = (world.leases.make(box())[0] for _ in range(2))
    world.leases.release(released)
    world.kind.renewed.clear()
    eventually(lambda: world.kind.renewed.count(out.token) > 2, "renewals")
    assert released.token not in world.kind.renewed[1:]  # one may have been under way
    world.leases.close()


def test_the_journals_of_living_runs_can_be_read_too(world: World) -> None:
    lease, _ = world.leases.make(box())
    kept, _ = world.leases.make(box())
    world.leases.keep(kept)
    assert all_standing(world.journals).keys() == {lease.token, kept.token}


def test_a_kept_lease_is_told_to_stay(world: World) -> None:
    lease, _ = world.leases.make(box())
    world.leases.keep(lease)
    assert world.kind.told_to_stay == [lease.token]


def test_a_server_that_is_gone_is_asked_only_once_at_the_end(world: World) -> None:
    for _ in range(3):
        world.leases.make(box())
    world.kind.fails.add("release")
    world.leases.close()
    assert len(world.told(Warned)) == 1
    world.kind.fails.clear()
    assert len(world.sweep().released) == 3


def test_a_sweep_that_is_to_stop_leaves_the_rest(world: World) -> None:
    world.leases.make(box())
    world.kind.fails.add("release")
    world.leases.close()
    world.kind.fails.clear()
    assert world.sweep(stop=lambda: True).released == []
    assert len(world.sweep().released) == 1


def test_many_at_a_time(world: World) -> None:
    def once(_n: int) -> str:
        lease, _ = world.leases.make(box())
        world.leases.release(lease)
        return lease.token

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(once, range(200)))) == 200
    assert world.kind.inventory == set()
    world.leases.close()
    assert list(world.journals.iterdir()) == []


def test_a_journal_that_cannot_be_written_makes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_line: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(world.journal, "making", full)
    with pytest.raises(InfrastructureError, match="No space left on device"):
        world.leases.make(box())
    assert world.kind.inventory == set()


def test_tokens_never_meet() -> None:
    assert len({box().token for _ in range(10_000)}) == 10_000
