"""The contamination check: who touched what is not his own.

Each checked entry is looked at when a group that has it comes and when it goes. What differs between two looks was
touched by somebody in between; where several groups ran, nothing tells them apart, so each of them that is checked and
still there is told of it, with the names of all others. What changed while no group ran is nobody's. Programs outside
of the run are not known here.

A look that fails is told as a warning, and there is none after it.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.errors import HarnessError
from harness.isolation.lease import Kind, Lease

Look = Mapping[str, str]


@dataclass
class _Touched:
    before: str | None
    after: str | None
    others: set[str]

    def said(self, thing: str) -> str:
        if self.before == self.after:
            change = "was touched and put back"
        elif self.before is None:
            change = f"is new: {self.after}"
        elif self.after is None:
            change = f"is gone: {self.before}"
        else:
            change = f"{self.before} → {self.after}"
        who = f"{', '.join(sorted(self.others))} ran as well" if self.others else "no other group ran"
        return f"{thing}: {change} ({who})"


@dataclass
class _Present:
    group: str
    entries: tuple[str, ...]  # those that are looked at on its account
    touched: dict[str, _Touched] = field(default_factory=dict)


class Watch:
    """All attempts that are under way, and what was touched while they were. Any thread may call."""

    def __init__(self, kinds: Mapping[str, Kind], sentinels: Mapping[str, Lease], warn: Callable[[str], None]) -> None:
        """`kinds` are those of the checked entries; `sentinels` may lack some of them."""
        self._kinds = kinds
        self._sentinels = sentinels
        self._warn = warn
        self._present: dict[str, _Present] = {}
        self._looks: dict[str, Look] = {}
        self._blind: set[str] = set()
        self._since: dict[str, set[str]] = {entry: set() for entry in kinds}  # groups that ran since the last look
        self._lock = threading.Lock()

    def came(self, attempt: str, group: str, entries: tuple[str, ...]) -> None:
        """An attempt begins. Call it before anything of its own is made."""
        with self._lock:
            for entry in entries:
                self._look(entry)
            self._present[attempt] = _Present(group, entries)
            for groups in self._since.values():
                groups.add(group)

    def went(self, attempt: str) -> list[str]:
        """An attempt has ended, and nothing of it runs any more. Returns what was touched while it ran, for people."""
        with self._lock:
            for entry in self._present[attempt].entries:
                self._look(entry)
            present = self._present.pop(attempt)
        return [touched.said(thing) for thing, touched in sorted(present.touched.items())]

    def _look(self, entry: str) -> None:
        if entry in self._blind:
            return  # a server that does not answer must not hold up group after group
        try:
            now = self._kinds[entry].look(self._sentinels.get(entry))
        except HarnessError as error:
            self._blind.add(entry)
            self._warn(f"[isolation.{entry}] is not checked for contamination any more: {error.message}")
            return
        before = self._looks.get(entry)
        if before is not None:
            now = {thing: how or before.get(thing, "") for thing, how in now.items()}
            for thing in before.keys() | now.keys():
                if before.get(thing) != now.get(thing) and "" not in (before.get(thing), now.get(thing)):
                    self._tell(entry, thing, before.get(thing), now.get(thing))
        self._looks[entry] = now
        self._since[entry] = {present.group for present in self._present.values()}

    def _tell(self, entry: str, thing: str, before: str | None, after: str | None) -> None:
        for present in self._present.values():
            if entry in present.entries:
                others = self._since[entry] - {present.group}
                known = present.touched.setdefault(thing, _Touched(before, after, others))
                known.after = after
                known.others |= others
