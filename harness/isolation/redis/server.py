"""One Redis server, as the kind `redis` speaks to it: connections, addresses, and what its failures are called.

Every connection of ours is named `harness:RUN`, so that nobody takes it for one of the tests' or of a stranger's. What
leases leave on the server to be known by are keys `harness:lease:…`. Nothing here knows what a lease is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from harness.errors import HarnessError, InfrastructureError

Client = Any  # redis.Redis: its own types say of every answer that it may be an awaitable
LEASES = "harness:lease:"
_OURS = "harness:"  # how the names of our connections begin
_CONNECT = 5.0  # seconds
_ANSWER = 15.0  # seconds that one answer may take


class Server:
    """The server of an address. Any thread may ask it. Connects only when something is asked.

    Raises HarnessError where the package redis is missing, InfrastructureError where the address is none.
    """

    def __init__(self, url: str, run_id: str) -> None:
        try:
            import redis.connection as connection
        except ImportError as error:
            raise HarnessError(
                'kind = "redis" needs the Python package redis, which is not installed',
                'Install it where the harness is: pip install "parallel-harness[redis]"',
            ) from error
        parse_url: Callable[[str], dict[str, Any]] = connection.parse_url
        self.url = url
        self._name = f"{_OURS}{run_id}"
        with _address_read():
            parts = parse_url(url)
        self._path: str | None = parts.get("path")
        self.where = self._path or f"{parts.get('host', 'localhost')}:{parts.get('port', 6379)}"
        self.database = int(parts.get("db", 0))
        self.has_password = bool(parts.get("password"))

    def client(self, database: int) -> Client:
        """A client of its own pool, to be closed by whoever asked for it. It connects when it is used."""
        import redis
        from redis.backoff import ExponentialBackoff
        from redis.retry import Retry

        with _address_read():
            return redis.Redis.from_url(
                address(self.url, database),
                client_name=self._name,
                socket_connect_timeout=_CONNECT,
                socket_timeout=_ANSWER,
                retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
            )

    def others(self, client: Client) -> list[Mapping[str, str]]:
        """The connections that are not the harness's, as CLIENT LIST has them; where that is forbidden, none."""
        import redis

        try:
            found: Sequence[Mapping[str, str]] = client.execute_command("CLIENT LIST")
        except redis.ResponseError:
            return []
        return [one for one in found if not one.get("name", "").startswith(_OURS)]

    @contextmanager
    def asked(self, what: str, *, gone_is_fine: bool = False) -> Iterator[None]:
        """Around all that is asked of the server: its failures become InfrastructureError.

        `gone_is_fine`: nothing happens where nobody listens there, since what was in memory is gone as well.
        """
        import redis

        try:
            yield
        except redis.RedisError as error:
            if gone_is_fine and self._nobody_listens(error):
                return
            raise InfrastructureError(
                f"cannot {what} on the Redis at {self.where}: {error or type(error).__name__}",
                "Look whether it runs, and whether its user may do all that docs/isolation.md names.",
            ) from error

    def _nobody_listens(self, error: BaseException | None) -> bool:
        kinds = (ConnectionRefusedError, FileNotFoundError) if self._path else ConnectionRefusedError
        while error and not isinstance(error, kinds):
            error = error.__cause__ or error.__context__
        return error is not None


@contextmanager
def _address_read() -> Iterator[None]:
    try:
        yield
    except ValueError:
        # Without the library's words: they can quote the password.
        raise InfrastructureError(
            "the `url` of a Redis is no address",
            "Write redis://HOST:PORT, rediss://HOST:PORT for TLS, or unix:///PATH, with special characters "
            "percent-encoded.",
        ) from None


def address(url: str, database: int, user: str = "", password: str = "") -> str:
    """The address of another database of the same server; with a user, as that user. The rest of it stays."""
    parts = urlsplit(url)
    replaced = {"db"} | ({"username", "password"} if user else set())
    query = [(key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if key not in replaced]
    host = parts.netloc
    if user:
        host = f"{quote(user, safe='')}:{quote(password, safe='')}@{host.rpartition('@')[2]}"
    path = f"/{database}"
    if parts.scheme == "unix":  # its path is the socket's, and urlunsplit would leave out the // before it
        path = parts.path
        query.append(("db", str(database)))
    return f"{parts.scheme}://{host}{path}" + (f"?{urlencode(query)}" if query else "")


def text(value: Any) -> str:
    """What the server said, which may be any bytes, for people and for patterns."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value or "")
