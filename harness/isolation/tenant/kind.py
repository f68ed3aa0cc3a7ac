"""The isolation kind `tenant`: an account, organization or workspace of its own on a platform with an HTTP API.

The plan says which requests make and remove one, and where in the answers the values stand; nothing here knows a
platform. What holds whatever the platform does:

- The platform's key is sent to the platform, and goes nowhere else: not to tests, details, journal or messages.
- Before every try of a delete the guard is asked, where there is one. If it forbids, cannot be asked, or does not say,
  nothing is deleted. Between its answer and the delete there is a moment that HTTP cannot close.
- The guard must know the first tenant that is made, and let it go; from then on its 404 means that a tenant is gone.
  One that it does not know is deleted all the same, if its name shows that it was made here.
- A delete that finds nothing where something must be is an error, because its path is wrong: after the guard saw the
  tenant, and, where there is no guard, at the first delete of what this process made.
- A tenant whose name holds the lease's token is this lease's. Any other name is used by one lease after the other
  (tenant/names.py), and what an earlier one left under it is removed first.
- A create of which nothing was heard may have been carried out: the tenant it may have made is removed. For one whose
  sender died, `release` looks again for up to two seconds after it was sent.

Over HTTP nothing can bear a label, so `expired` knows nothing; what dead runs left is found by their journals alone.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from http import HTTPStatus
from typing import Any

from harness.errors import InfrastructureError
from harness.isolation.lease import BaseKind, Context, Lease, Made
from harness.isolation.tenant.answers import flatten, pick, same, scalar, shape
from harness.isolation.tenant.http import Answer, Client, Refused, Unheard
from harness.isolation.tenant.names import NameLocks, name_of
from harness.masking.choice import secret_variables

_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_ASKED_AT = "asked_at"  # of the details: when the create was sent, wall time
_SETTLES = 2.0  # seconds that a platform is given to finish a create whose sender is gone
_LOOK_AGAIN = 0.1
_LONGEST_VALUE = 100_000  # characters: the system takes no longer variable than 128 KiB


class _NothingThere(Exception):
    """The guard knows no such tenant."""


class Tenant(BaseKind):
    """One entry of [isolation.NAME] with `kind = "tenant"`."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        super().__init__(options, context)
        key_variable = options.get("key_variable")
        self.hidden = frozenset({key_variable} if key_variable else ())
        self.wants_sentinel = options.get("state") is not None
        self._names = NameLocks(options["base_url"], context.project)
        self._is_guard_proven = False
        self._answered: set[str] = set()  # tokens: the platform said what became of the create
        self._refused: set[str] = set()  # tokens: it said that it made nothing
        self._doubts: dict[str, str] = {}  # by token: what it would mean if there were nothing to remove
        self._lock = threading.Lock()

    def plan(self, lease: Lease) -> Mapping[str, str]:
        return {"name": name_of(self.options["name"], lease)}

    def make(self, lease: Lease, learned: Callable[[Mapping[str, str]], None]) -> Made:
        name = lease.details["name"]
        client = self._client(self.context.stopping)
        if lease.token not in name:
            self._names.take(lease, name, self.context.stopping)
            self._remove(client, name)
            self._names.claim(lease)
        learned({_ASKED_AT: str(time.time())})
        answer = self._create(client, lease, name)
        with self._lock:
            self._answered.add(lease.token)
        if not self.options.get("guard"):
            self._doubt(
                lease,
                f"the platform knows no tenant {name} to delete, which was made: either its group removed it, or the "
                "path of `delete` is wrong and the tenant is still there",
            )
        elif not self._is_guard_proven:
            self._prove_guard(client, lease, name)
        variables = {self.options["name_variable"]: name, **self._values(client, answer)}
        secret = secret_variables(variables, self.options["secrets"])
        return Made(variables, {"name": self.options["name_variable"]}, secret)

    def release(self, lease: Lease) -> None:
        name = lease.details["name"]
        is_unique = lease.token in name
        turn: AbstractContextManager[bool] = nullcontext(True) if is_unique else self._names.giving_back(lease, name)
        with turn as ours:
            was_there = ours and lease.token not in self._refused and self._remove_settled(lease, name)
            with self._lock:
                doubt = self._doubts.pop(lease.token, "")
            if ours and doubt and not was_there:
                raise InfrastructureError(doubt)

    def look(self, sentinel: Lease | None) -> Mapping[str, str]:
        if sentinel is None or not self.wants_sentinel:
            return {}
        name = sentinel.details["name"]
        client = self._client()
        answer = client.send({"method": "GET", "path": self.options["state"], "body": {}}, name, fine=_GONE)
        if answer.status in _GONE:
            return {f"tenant {name}": "is not there"}
        return {client.shows(f"tenant {name}: {path}"): client.shows(value) for path, value in flatten(answer.json())}

    def _client(self, stop: threading.Event | None = None) -> Client:
        """For requests that `stop` ends, or that nothing does. Raises InfrastructureError where the key is missing."""
        variable = self.options.get("key_variable")
        key = self.context.variables.get(variable, "") if variable else ""
        if variable and not key:
            raise InfrastructureError(
                f"the variable {variable}, which holds the platform's key, is not set",
                "Set it in the shell or in .env.",
            )
        headers = {
            header: value.replace("{key}", key)
            for header, value in self.options["headers"].items()
            if key or "{key}" not in value
        }
        options = self.options
        return Client(
            options["base_url"], headers, key, options["timeout"], options["attempts"], stop or threading.Event()
        )

    def _create(self, client: Client, lease: Lease, name: str) -> Answer:
        create = self.options["create"]
        is_there = False
        try:
            answer = client.send(create, name, fine=(HTTPStatus.CONFLICT,))
            if answer.status == HTTPStatus.CONFLICT and answer.repeated and lease.token in name:
                # An earlier try made it, and nobody heard of it: its secrets are lost, so another one is made.
                is_there = True
                is_there = not self._remove(client, name)
                answer = client.send(create, name, fine=(HTTPStatus.CONFLICT,))
        except Refused:
            if not is_there:
                with self._lock:
                    self._refused.add(lease.token)
            raise
        except Unheard:
            self._doubt(lease, f"nothing was heard of the making of the tenant {name}: it may still come into being")
            raise
        if answer.status == HTTPStatus.CONFLICT:
            if is_there:
                self._doubt(lease, f"the platform has the tenant {name}, but `guard` or `delete` does not find it")
            raise InfrastructureError(f"{answer.request}: 409 Conflict: the platform has a tenant {name} already")
        return answer

    def _values(self, client: Client, answer: Answer) -> dict[str, str]:
        """The variables that the plan reads out of the answer to `create`."""
        wanted = self.options["create"]["read"]
        content = answer.json() if wanted else None
        values = {}
        for variable, path in wanted.items():
            try:
                value = scalar(pick(content, path))
            except LookupError:
                value = None
            if value is None:
                raise InfrastructureError(
                    f"{answer.request}: the answer has no single value at {path}, which {variable} is to hold; "
                    f"it looks like this: {client.shows(shape(content))}",
                    "Correct the path in `read`: names and positions with dots between them, as keys.0.secret.",
                )
            if "\0" in value or len(value) > _LONGEST_VALUE:
                raise InfrastructureError(f"{answer.request}: the value at {path} is too long, or has a NUL")
            if client.key and client.key in value:
                raise InfrastructureError(f"{answer.request}: the value at {path} is the platform's own key")
            values[variable] = value
        return values

    def _remove(self, client: Client, name: str) -> bool:
        """Deletes the tenant, unless the guard forbids it. False: there was none, and had not been at the first try."""
        known = False

        def ask_guard() -> None:
            nonlocal known
            known |= self._ask_guard(client, name)

        try:
            answer = client.send(self.options["delete"], name, fine=_GONE, before=ask_guard)
        except _NothingThere:
            return known
        if known and not _is_found(answer):
            raise InfrastructureError(
                f"the tenant {name} is not deleted: {answer.request} does not find it, and the guard does",
                "Correct the path or the body of `delete`.",
            )
        return _is_found(answer)

    def _prove_guard(self, client: Client, lease: Lease, name: str) -> None:
        """Asks the guard for the tenant that was just made. Raises InfrastructureError if it is no guard for it."""
        try:
            self._ask_guard(client, name)
        except _NothingThere:
            what = f"the guard does not know the tenant {name}, which was just made"
            self._doubt(lease, f"{what}, and it could not be deleted")
            # Its name shows that it was made here, a moment ago: it may go without the guard's word.
            if lease.token in name:
                with suppress(InfrastructureError):
                    if _is_found(self._client().send(self.options["delete"], name, fine=_GONE)):
                        self._doubt(lease, "")
            raise InfrastructureError(what, "Correct the path of `guard`.") from None
        self._is_guard_proven = True

    def _remove_settled(self, lease: Lease, name: str) -> bool:
        """Deletes the tenant, also one that the platform is only just making for a run that died as it asked for it."""
        client = self._client()
        asked_at = float(lease.details.get(_ASKED_AT, 0))
        while not self._remove(client, name):
            if lease.token in self._answered or not 0 <= time.time() - asked_at < _SETTLES:
                return False
            time.sleep(_LOOK_AGAIN)
        return True

    def _ask_guard(self, client: Client, name: str) -> bool:
        """Whether the guard knows the tenant, which may be deleted. Raises _NothingThere, or InfrastructureError."""
        guard = self.options.get("guard")
        if not guard:
            return False
        answer = client.send(guard, name, fine=_GONE)
        if answer.status in _GONE:
            raise _NothingThere
        content = answer.json()
        for path, never in guard["never_where"].items():
            try:
                value = pick(content, path)
            except LookupError:
                raise InfrastructureError(
                    f"the tenant {name} is not deleted: {answer.request} does not say {path}; "
                    f"its answer looks like this: {client.shows(shape(content))}",
                    "Correct the paths in `never_where`.",
                ) from None
            if isinstance(never, bool) and not isinstance(value, bool):
                raise InfrastructureError(
                    f"the tenant {name} is not deleted: {path} is neither true nor false in the answer of "
                    f"{answer.request}, but {client.shows(shape(value))}",
                    "Write into `never_where` what the platform answers when the tenant may not go.",
                )
            if same(value, never):
                raise InfrastructureError(
                    f"the tenant {name} is live, and so not deleted: {path} is {scalar(never) or 'what it may not be'}",
                    "If it may go, remove it by hand on the platform.",
                )
        return True

    def _doubt(self, lease: Lease, doubt: str) -> None:
        with self._lock:
            self._doubts[lease.token] = doubt


def _is_found(deleted: Answer) -> bool:
    """Whether there was something to delete: an earlier try may have done it, and what is gone (410) was there."""
    return deleted.repeated or deleted.status != HTTPStatus.NOT_FOUND
