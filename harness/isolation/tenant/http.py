"""Requests to the API of a platform: sent again where that can help, and never telling the platform's key.

A request is tried again after 429, after 5xx, and where no answer came; when `Retry-After` says (RFC 9110, 10.2.3),
else after 0.2 s, doubled each time, with jitter. No try begins, and no wait ends, later than PATIENCE seconds after the
timeout of a first try, so `send` always ends. Redirects are not followed: the key would go along.

A try that got no answer may have been carried out all the same; `Answer.repeated` and `Unheard` say so. `Refused` says
the contrary: the platform understood the request, and did nothing.

Addresses of this machine are spoken to directly; for all others the shell's proxy and certificates count. Passwords
from ~/.netrc never do.
"""

import contextlib
import email.utils
import ipaddress
import json
import random
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC
from http import HTTPStatus
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from harness import clock
from harness.errors import InfrastructureError
from harness.isolation.options import PLAIN_HEADERS
from harness.isolation.tenant.answers import pick
from harness.masking.forms import gives_away

if TYPE_CHECKING:
    from requests import Response

PATIENCE = 60.0
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 10.0
_LARGEST = 1 << 20  # bytes of an answer that are read
_SAID_AT = ("error.message", "message", "detail", "error", "title", "error.code")  # where APIs explain a refusal
_UNDECIDED = (  # of 4xx: the same request may be carried out at another time, or was already
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.CONFLICT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)
_HEADER_VALUE = re.compile(r"[\x20-\x7e\xa0-\xff]*")


class Refused(InfrastructureError):
    """The platform answered that it will not, and none of the tries was carried out."""


class Unheard(InfrastructureError):
    """The request failed, and of at least one of its tries nobody knows whether it was carried out."""


@dataclass(frozen=True)
class Answer:
    """What came back. Where the body could not be read, `unreadable` says why."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    unreadable: str = ""
    request: str = ""  # method and address, for messages
    repeated: bool = False  # an earlier try may have been carried out

    def json(self) -> Any:
        """The body. Raises InfrastructureError where it is no JSON, or no answer that could be read."""
        try:
            if not self.unreadable:
                return json.loads(self.body)
        except (ValueError, RecursionError):
            pass
        raise InfrastructureError(f"{self.request}: the answer {self.unreadable or 'is not JSON'}")


@dataclass(frozen=True)
class Client:
    """One platform. `headers` are complete; `key` is what no message may tell. Any thread may use it."""

    base_url: str
    headers: Mapping[str, str]
    key: str
    timeout: float  # seconds, of one try
    attempts: int
    stop: threading.Event = field(default_factory=threading.Event)  # set: no further try is begun, or waited for

    def __post_init__(self) -> None:
        """Raises InfrastructureError for a header that cannot be sent; its value is not told."""
        for name, value in self.headers.items():
            if not _HEADER_VALUE.fullmatch(value) or value != value.strip():
                raise InfrastructureError(
                    f"the header {name} cannot be sent: it holds line breaks, outer spaces or letters beyond Latin-1",
                    "Look at the headers of the entry, and at the variable that holds the platform's key.",
                )

    def send(
        self,
        request: Mapping[str, Any],
        name: str,
        *,
        fine: Collection[int] = (),
        before: Callable[[], None] | None = None,
    ) -> Answer:
        """The answer to a request of the plan (`method`, `path`, `body`), in which `name` is put in for {name}.

        An answer other than 2xx or one of `fine` is an InfrastructureError, and so is a stop. `before` is called
        before every try; the time that it takes comes on top.
        """
        what = f"{request['method']} {self._shown}{_path(request, name)}"
        if self.stop.is_set():
            raise InfrastructureError(f"{what}: was not sent: the run stops")
        deadline = clock.now() + self.timeout + PATIENCE
        repeated = unheard = False
        for attempt in range(1, self.attempts + 1):
            if before:
                before()
            answer = self._once(request, name, min(self.timeout, max(deadline - clock.now(), 1.0)), fine)
            if isinstance(answer, Answer):
                return replace(answer, request=what, repeated=repeated)
            failure = answer
            unheard |= failure.unheard
            repeated |= failure.maybe_done
            wait = _wait(failure.retry_after, attempt)
            is_too_long = clock.now() + wait > deadline
            if attempt == self.attempts or is_too_long or not failure.is_passing or self.stop.wait(wait):
                break
        waited = f"; the next try would have to wait for {wait:.0f} s" if failure.is_passing and is_too_long else ""
        stopped = "; it is not sent again, because the run stops" if failure.is_passing and self.stop.is_set() else ""
        tries = f" (try {attempt} of {self.attempts})" if attempt > 1 else ""
        kind = Unheard if unheard else Refused if failure.is_refusal and not repeated else InfrastructureError
        raise kind(f"{what}: {failure.why}{waited}{stopped}{tries}")

    def shows(self, text: str) -> str:
        """The text, if it may be shown: it does not give the key away."""
        secrets = [self.key, *(value for name, value in self.headers.items() if name.lower() not in PLAIN_HEADERS)]
        return "(hidden: it holds the platform's key)" if any(gives_away(text, it) for it in secrets if it) else text

    @property
    def _shown(self) -> str:
        """The base URL without a password."""
        address = urlsplit(self.base_url)
        return f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}"

    def _once(
        self, request: Mapping[str, Any], name: str, timeout: float, fine: Collection[int]
    ) -> "Answer | _Failure":
        requests = _requests()
        url = self.base_url.rstrip("/") + _path(request, name)
        try:
            # A session of its own each time: connections and cookies of one tenant are no other tenant's.
            with requests.Session() as session:
                session.trust_env = not _is_local(url)
                session.get_redirect_target = _nowhere  # or it looks where a redirect leads, and fails where it cannot
                own = requests.utils.get_auth_from_url(url)
                session.auth = own if any(own) else _as_it_is
                with session.request(
                    request["method"],
                    url,
                    json=fill(request["body"], name) or None,
                    # Compressed, a small answer could be a very large one.
                    headers={"Accept-Encoding": "identity", **self.headers},
                    timeout=timeout,
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    content, unreadable = _read(response, timeout)
                    answer = Answer(response.status_code, response.headers, content, unreadable)
        except requests.RequestException as error:
            # Not the error's own text: it may hold headers, or an address with a password.
            return _no_answer(requests, error, timeout)
        is_fine = answer.status // 100 == 2 or answer.status in fine
        return answer if is_fine else self._refusal(answer)

    def _refusal(self, answer: Answer) -> "_Failure":
        status = answer.status
        why = f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)
        if status // 100 == 3:
            there = "another path"
            with contextlib.suppress(ValueError):
                there = urlsplit(answer.headers.get("Location", "")).netloc.rpartition("@")[2] or there
            why += f": a redirect, to {self.shows(there)}, is not followed, because the key would go along"
        elif said := _said(answer):
            why += f": {self.shows(said)[:200]}"
        return _Failure(
            why,
            is_passing=status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500,
            maybe_done=status >= 500,
            is_refusal=status // 100 == 4 and status not in _UNDECIDED,
            retry_after=answer.headers.get("Retry-After", ""),
        )


def fill(value: Any, name: str) -> Any:
    """The value with `name` for {name} in all its strings, however deep."""
    if isinstance(value, str):
        return value.replace("{name}", name)
    if isinstance(value, dict):
        return {key: fill(item, name) for key, item in value.items()}
    return [fill(item, name) for item in value] if isinstance(value, list | tuple) else value


def _path(request: Mapping[str, Any], name: str) -> str:
    path: str = request["path"].replace("{name}", quote(name, safe=""))
    return path


@dataclass(frozen=True)
class _Failure:
    """Why a try came to nothing."""

    why: str
    is_passing: bool = False  # another try may do better
    maybe_done: bool = False  # the request may have been carried out all the same
    unheard: bool = False  # nothing came back at all
    is_refusal: bool = False  # the platform says that it did nothing, and will not
    retry_after: str = ""


def _no_answer(requests: ModuleType, error: Exception, timeout: float) -> _Failure:
    from urllib3.exceptions import NewConnectionError

    errors = requests.exceptions
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(error, errors.ProxyError):
        return _Failure("no connection through the proxy", is_passing=True)
    if isinstance(error, errors.ConnectTimeout):
        return _Failure(f"no connection after {timeout:g} s", is_passing=True)
    if isinstance(reason, NewConnectionError):
        cause = reason.__cause__ or reason.__context__
        why = cause.strerror if isinstance(cause, OSError) and cause.strerror else "the address cannot be reached"
        return _Failure(f"no connection: {why}", is_passing=True)
    if isinstance(error, errors.SSLError):
        return _Failure("no connection: the server's certificate is not accepted")
    if isinstance(error, errors.Timeout):
        return _Failure(f"no answer after {timeout:g} s", is_passing=True, maybe_done=True, unheard=True)
    if isinstance(error, errors.ConnectionError):
        why = "the connection broke before an answer came"
        return _Failure(why, is_passing=True, maybe_done=True, unheard=True)
    return _Failure(f"it cannot be sent: {type(error).__name__}")


def _said(answer: Answer) -> str:
    """How the server explains a refusal, on one line; empty if it does not, or not where APIs do."""
    try:
        content = answer.json()
    except InfrastructureError:
        return ""
    for path in _SAID_AT:
        with contextlib.suppress(LookupError):
            if isinstance(said := pick(content, path), str):
                return " ".join(said.split())
    return ""


def _read(response: "Response", timeout: float) -> tuple[bytes, str]:
    """The body of an answer, up to a bound; and why it could not be read, or an empty text."""
    from urllib3.exceptions import HTTPError

    deadline = clock.now() + timeout
    content = b""
    try:
        # read1 returns what has come: a server that sends a byte now and then would hold up `read` for hours.
        while chunk := response.raw.read1(1 << 16):
            content += chunk
            if len(content) > _LARGEST:
                return b"", f"is larger than {_LARGEST >> 20} MiB"
            if clock.now() > deadline:
                return b"", f"had no end after {timeout:g} s"
    except (HTTPError, OSError):
        return b"", "broke off"
    return content, ""


def _wait(said: str, attempt: int) -> float:
    """Seconds until the next try: what `Retry-After` says, else more each time, spread at random."""
    if re.fullmatch(r"[0-9]+", said.strip()):
        return float(said)
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        date = email.utils.parsedate_to_datetime(said)
        at = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
        return max(at - time.time(), 0.0)
    # Spread, so that those who were refused together do not come back together.
    return min(_FIRST_WAIT * 2.0 ** (attempt - 1), _LONGEST_WAIT) * (0.5 + random.random())


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _nowhere(_: object) -> None:
    """Where a redirect leads, which is not followed."""


def _as_it_is(request: Any) -> Any:
    """An authentication that adds none: without one, requests would put ~/.netrc's over the Authorization header."""
    return request


def _requests() -> ModuleType:
    try:
        import requests
    except ImportError:
        raise InfrastructureError(
            "a tenant needs the package requests, which is not installed",
            'Install it: pip install "parallel-harness[tenant]".',
        ) from None
    return requests
