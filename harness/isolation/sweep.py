"""Takes down what dead runs left: by their journals, and by the labels of this project that nobody renews any more.

Never by name alone. What a run had made on a service that it started has mostly ended with it; where its data lies
elsewhere, the service of a later run removes it. What somebody asked to keep stays, unless it is asked for.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harness.errors import HarnessError
from harness.isolation.journal import Standing, dead_journals
from harness.isolation.lease import Kind, Lease

ELSEWHERE = "it was made at another address: call gc in the environment in which that run was"


@dataclass
class Swept:
    """What a sweep did."""

    released: list[Lease] = field(default_factory=list)
    kept: list[Lease] = field(default_factory=list)
    left: list[tuple[Lease, str]] = field(
        default_factory=list
    )  # what could not be released, and why; "": nobody can now


FindKind = Callable[[str, str], Kind | None]
"""By entry and kind; None: there is no such kind at work now."""


def sweep(
    journals: Path,
    find_kind: FindKind,
    *,
    origins: Mapping[str, str] | None = None,
    with_kept: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Swept:
    """Releases what the journals of dead runs speak of, the last made first. A living run's are not looked at.

    `origins` says where each entry leads now: what was made elsewhere is not looked for here. With `stop` the rest is
    left for another time.
    """
    swept = Swept()
    with dead_journals(journals) as dead:
        for journal in dead:
            for standing in reversed(list(journal.standing.values())):
                lease = standing.lease
                if stop():
                    return swept
                if origins is not None and lease.origin != origins.get(lease.entry, lease.origin):
                    swept.left.append((lease, ELSEWHERE))
                elif _take_down(standing, find_kind, swept, with_kept=with_kept):
                    with suppress(OSError):  # to release it once more is no harm
                        journal.released(lease.token)
    return swept


def sweep_expired(kinds: Mapping[str, Kind], swept: Swept, standing: Collection[str]) -> None:
    """Releases what stands on the servers under labels of this project that are over, and what no journal speaks of.

    `standing` are the tokens of the journals: those of living runs, which may have slept, and of what is kept.
    """
    for entry, kind in kinds.items():
        try:
            expired: Iterable[Lease] = kind.expired()
        except HarnessError as error:
            swept.left.append((Lease(token="", entry=entry, kind="", run_id=""), error.message))
            continue
        for found in expired:
            lease = msgspec.structs.replace(found, entry=entry)  # a label does not say which entry it was
            if lease.token not in standing:
                _take_down(Standing(lease), lambda entry, _kind: kinds[entry], swept, with_kept=False)


def _take_down(standing: Standing, find_kind: FindKind, swept: Swept, *, with_kept: bool) -> bool:
    lease = standing.lease
    if standing.kept and not with_kept:
        swept.kept.append(lease)
        return False
    kind = find_kind(lease.entry, lease.kind)
    if kind is None:
        swept.left.append((lease, ""))
        return False
    try:
        kind.release(lease)
    except HarnessError as error:
        swept.left.append((lease, error.message))
        return False
    swept.released.append(lease)
    return True
