"""Whether a group has to run at all: a fingerprint of everything that it says its result depends on.

Protocol: before a run, `take` the fingerprints of its groups and ask `cached_groups` which of them have passed with the
same one. After it, `store_passes` looks a second time: a file that was edited while its group ran must not be taken for
tested. A Fingerprints reads each file once, so the second look needs another one (`again`). Whatever was no plain pass
takes the stored one back: nothing that failed last, on the same files or on others, is ever `cached`.

A fingerprint is made of named parts, each a short hash, so that what has changed can be told; contents count, never
times. Of variables too only hashes are kept. `docs/caching.md` lists the parts.

It must not guess: what it cannot know (no `inputs`, a file that cannot be read) is `unknown`, and runs.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

import msgspec

from harness.model import Group, GroupResult, Isolation, Plan, Status
from harness.past import StoredFingerprint
from harness.planning.changed import files_around, lock_files, test_files
from harness.planning.files import Tree
from harness.planning.variables import environment_of, group_variables

FORMAT = "1"  # of fingerprints: another one makes all that are stored worthless
NO_INPUTS = "names no inputs, so nobody knows what it depends on"
_SHOWN = 3  # names in an explanation

# Keys of a group that change what is run, or how it is judged; not when, beside what or for how long.
_KEYS = ("tests", "command", "workers", "dist", "process", "splittable", "inputs", "results")
_SERVICE_KEYS = ("kind", "command", "env", "directory")


@dataclass(frozen=True)
class Fingerprint:
    """`parts` maps what a group depends on to a short hash. `unknown` says why that is not all; empty: it is."""

    digest: str
    parts: dict[str, str]
    unknown: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether a group is `cached`, and why, as a phrase whose subject is the group or what changed."""

    cached: bool
    why: str


_WITHOUT_INPUTS = Fingerprint("", {}, NO_INPUTS)  # of most groups: one for all of them


class Store(Protocol):
    """What the history does for fingerprints."""

    def store_fingerprint(self, group: str, digest: str, parts: dict[str, str], run_id: str, at: float) -> None: ...

    def store_pass(self, group: str, digest: str, parts: dict[str, str], run_id: str, at: float) -> None: ...


class Fingerprints:
    """Those of the groups of a plan. `shell` and `dotenv` are the variables that win over the plan's."""

    def __init__(self, plan: Plan, environment: str, shell: Mapping[str, str], dotenv: Mapping[str, str]) -> None:
        self._plan = plan
        self._environment = environment_of(plan, environment)
        self._shell = shell
        self._dotenv = dotenv
        self._groups = {group.name: group for group in plan.groups}
        self._in_quarantine = {entry.group for entry in plan.quarantine if entry.group}
        self._project = Path(plan.project)
        self._tree = Tree(self._project, "")
        self._log_dir = os.path.relpath(self._project / plan.log_dir, self._project)
        self._hashes: dict[str, str | None] = {}
        self._found: dict[str, tuple[str, ...]] = {}

    def again(self) -> "Fingerprints":
        """The same, knowing nothing of any file yet."""
        return Fingerprints(self._plan, self._environment.name, self._shell, self._dotenv)

    def has_inputs(self, name: str) -> bool:
        """Whether the group of that name can ever be cached."""
        return bool(self._groups[name].inputs)

    def of(self, name: str) -> Fingerprint:
        """The fingerprint of the group of that name, as the plan has it, whatever part of it was asked for."""
        group = self._groups[name]
        if not group.inputs:
            return _WITHOUT_INPUTS
        if name in self._in_quarantine:
            return Fingerprint("", {}, "is in quarantine, where it is watched")
        try:
            files = dict.fromkeys(self._files(group))
        except ValueError as error:  # a glob that is none, or leads through too much
            return Fingerprint("", {}, f"cannot be judged: {error}")
        unreadable = [file for file in files if self._hash(file) is None]
        if unreadable:
            return Fingerprint(
                "", {}, f"cannot be judged: {_listed([_told(file) for file in unreadable])} cannot be read"
            )
        parts = dict(self._parts(group)) | {f"file {_told(file)}": self._hash(file) or "" for file in files}
        return Fingerprint(_hash_of(sorted(parts.items())), parts)

    def _files(self, group: Group) -> Iterator[str]:
        tests = test_files(self._plan, group)
        yield from tests
        yield from filter(self._tree.is_file, files_around(tests))
        read = [isolation.options.get("migrations") for isolation in self._isolated(group)]
        migrations = [str(glob) for globs in read if isinstance(globs, list | tuple) for glob in globs]
        for glob in (*group.inputs, *migrations):
            yield from self._matching(PurePosixPath(glob).as_posix())
        yield from filter(self._tree.is_file, lock_files(self._plan))

    def _matching(self, glob: str) -> tuple[str, ...]:
        if glob not in self._found:
            files = [glob] if self._tree.is_file(glob) else sorted(self._tree.glob(glob))
            # What the harness itself writes there would be new in every run.
            self._found[glob] = tuple(file for file in files if not file.startswith(f"{self._log_dir}/"))
        return self._found[glob]

    def _hash(self, file: str) -> str | None:
        """Of a file's content, links followed; None: it cannot be read."""
        if file not in self._hashes:
            try:
                with (self._project / file).open("rb") as content:
                    self._hashes[file] = hashlib.file_digest(content, "sha256").hexdigest()[:16]
            except OSError:
                self._hashes[file] = None
        return self._hashes[file]

    def _parts(self, group: Group) -> Iterator[tuple[str, str]]:
        """All parts but the files."""
        yield "format", FORMAT
        yield "platform", _hash_of([sys.platform, os.uname().machine])
        yield "environment", _hash_of(self._environment.name)
        yield "python", self._python
        for key in _KEYS:
            yield f"key {key}", _hash_of(getattr(group, key))
        started = tuple(name for name in group.services if name in self._environment.services)
        for service in self._plan.services:
            if service.name in started:
                yield f"service {service.name}", _hash_of([getattr(service, key) for key in _SERVICE_KEYS])
        for isolation in self._isolated(group):
            yield f"isolation {isolation.name}", _hash_of(isolation)
        yield from self._variables(msgspec.structs.replace(group, services=started))

    def _isolated(self, group: Group) -> Iterator[Isolation]:
        return (isolation for isolation in self._plan.isolation if isolation.name in group.isolate)

    def _variables(self, group: Group) -> Iterator[tuple[str, str]]:
        """Those that the plan or its env files name, with what the group would be given."""
        values = group_variables(self._plan, self._environment.name, group, self._shell, self._dotenv)
        named = {variable.name for variable in self._plan.variables}
        named.update(self._plan.env, self._environment.env, group.env, self._dotenv)
        for name in sorted(named):
            yield f"variable {name}", _hash_of(values.get(name))

    @cached_property
    def _python(self) -> str:
        """Of the interpreter of the tests: our own, or one that is not started for this."""
        own = [sys.implementation.name, *sys.version_info[:3]]
        return _hash_of(_interpreter(self._project / self._plan.python) if self._plan.python else own)


def _told(file: str) -> str:
    """A file's name as text that any file format can hold; names of files need not be UTF-8."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")


def _interpreter(python: Path) -> list[str]:
    """The content of the program, and what its virtual environment says of the version that it was made for."""
    said = []
    try:
        with python.open("rb") as program:
            said.append(hashlib.file_digest(program, "sha256").hexdigest())
        lines = (python.parent.parent / "pyvenv.cfg").read_text(errors="replace").splitlines()
        said += [line for line in lines if line.startswith("version")]
    except OSError:
        pass  # no virtual environment; or no program, as the run will say
    return said


def _hash_of(value: object) -> str:
    """A short hash of whatever JSON can hold; equal values have equal ones, tables in whatever order."""
    # Python's own json, because a variable of the shell need not be UTF-8.
    text = json.dumps(msgspec.to_builtins(value), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def explain(stored: StoredFingerprint | None, now: Fingerprint) -> Verdict:
    """Whether a group with the fingerprint `now` has to run, given what is stored of it."""
    if now.unknown:
        return Verdict(False, now.unknown)
    if stored is None:
        return Verdict(False, "has not passed since its inputs were named")
    if not stored.digest:
        return Verdict(False, f"{stored.parts.get('why', 'did not pass')} in run {stored.run}")
    if stored.digest != now.digest:
        return Verdict(False, _difference(stored.parts, now.parts))
    return Verdict(True, f"unchanged since run {stored.run}")


def _difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    changed = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    kinds: dict[str, list[str]] = {}
    for part in changed:
        kind, _, name = part.partition(" ")
        if kind == "file":
            kind = "new" if part not in before else "gone" if part not in now else "file"
        kinds.setdefault(kind, []).append(name)
    if kinds.keys() & {"new", "gone"} and "key" in kinds:
        # The list of tests follows the files that its globs match.
        kinds["key"] = [name for name in kinds["key"] if name != "tests"]
    phrases = [phrase(kinds[kind]) for kind, phrase in _PHRASES.items() if kinds.get(kind)]
    return "; ".join(phrases) or "its fingerprint is of another version of the harness"


def _listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b, c and 4 more`."""
    shown = names if len(names) <= _SHOWN else [*names[:_SHOWN], f"{len(names) - _SHOWN} more"]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _phrase(one: str, several: str) -> Callable[[list[str]], str]:
    return lambda names: one.format(names[0]) if len(names) == 1 else f"{len(names)} {several}: {_listed(names)}"


# In the order in which they are said.
_PHRASES: Mapping[str, Callable[[list[str]], str]] = {
    "file": _phrase("{} changed", "files changed"),
    "new": _phrase("{} is new", "files are new"),
    "gone": _phrase("{} is gone", "files are gone"),
    "key": _phrase("key {} changed", "keys changed"),
    "variable": _phrase("variable {} changed", "variables changed"),
    "service": _phrase("service {} changed", "services changed"),
    "isolation": _phrase("isolation {} changed", "isolations changed"),
    "environment": lambda _: "passed in another environment",
    "python": lambda _: "passed with another Python",
    "platform": lambda _: "passed on another platform",
}


def take(fingerprints: Fingerprints, groups: Iterable[Group]) -> dict[str, Fingerprint]:
    """Those of the groups that run whole. Call it before the run."""
    return {group.name: fingerprints.of(group.name) for group in groups if not group.partial}


def cached_groups(taken: Mapping[str, Fingerprint], stored: Mapping[str, StoredFingerprint]) -> dict[str, str]:
    """The groups that need not run, each with the id of the run in which it passed."""
    return {
        name: stored[name].run for name, fingerprint in taken.items() if explain(stored.get(name), fingerprint).cached
    }


def to_withdraw(taken: Mapping[str, Fingerprint], cached: Collection[str]) -> list[str]:
    """The groups that are about to run and may have passed before: until they pass again, that counts no more."""
    return [name for name, fingerprint in taken.items() if not fingerprint.unknown and name not in cached]


def why_not(status: Status) -> str:
    return "was flaky" if status is Status.FLAKY else "failed"


def store_passes(
    store: Store,
    results: Iterable[GroupResult],
    taken: Mapping[str, Fingerprint],
    fingerprints: Fingerprints,
    *,
    run_id: str,
    at: float,
) -> dict[str, str]:
    """Stores what was `taken` before the run for each group that passed in it and of which nothing has changed since.

    `fingerprints` must be fresh (`again`), `at` is wall time. A pass in quarantine is not stored; a failure, of a part
    of a group too, and a flaky pass leave an empty fingerprint, which nothing equals. Returns the groups that passed
    but depend on what changed meanwhile, each with what that is.
    """
    moved = {}
    for result in results:
        before = taken.get(result.group)
        if result.status.is_failure or result.status is Status.FLAKY:
            if fingerprints.has_inputs(result.group):
                store.store_fingerprint(result.group, "", {"why": why_not(result.status)}, run_id, at)
        elif result.status is Status.PASSED and not result.quarantined and before and not before.unknown:
            after = fingerprints.of(result.group)
            if after.digest == before.digest:
                store.store_pass(result.group, before.digest, before.parts, run_id, at)
            else:
                moved[result.group] = after.unknown or _difference(before.parts, after.parts)
                why = f"passed, but {moved[result.group]} meanwhile,"
                store.store_fingerprint(result.group, "", {"why": why}, run_id, at)
    return moved
