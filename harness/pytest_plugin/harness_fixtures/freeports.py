"""Free TCP ports that no other process which asks here gets as well.

A port can be chosen, never reserved: between choosing it and the server's own bind, somebody else may take it. Two
things keep that from happening. Ports are taken from outside the range from which the kernel serves outgoing
connections and binds to port 0. And whoever has chosen one locks a file of its number, for as long as it needs the
port, in a directory that all processes of the user share: the same as that of the harness's own leases.
"""

from __future__ import annotations

import os
import random
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

from .locks import HAS_FLOCK, Lock

_LOWEST, _HIGHEST = 20_000, 65_535  # below them are the ports that people know
_EPHEMERAL = (32_768, 65_535)  # where the kernel does not say which it hands out itself
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 200


class PortClaims:
    """Ports that were taken, until they are given back at the end of the `with`."""

    def __init__(self, leased: list[int]) -> None:
        self._leased = leased
        self._locks: list[tuple[Path, Lock]] = []

    def __enter__(self) -> PortClaims:
        return self

    def __exit__(self, *_: object) -> None:
        for path, lock in self._locks:
            if lock.is_open():  # else a test has closed every descriptor, and the file may be another one's by now
                with suppress(OSError):
                    path.unlink()
            lock.close()

    def take(self) -> int:
        """The next of the leased ports, else another one that is free. Raises OSError when none is found."""
        if self._leased:
            return self._leased.pop(0)
        for port in random.SystemRandom().sample(_candidates(), _TRIES):
            if self._claim(port):
                return port
        raise OSError(f"no free TCP port among {_TRIES} that were tried")

    def _claim(self, port: int) -> bool:
        if not HAS_FLOCK:
            return is_free(port)
        path = _directory() / str(port)
        lock = Lock(path)
        try:
            # Whoever had it has removed the file: a lock on what has no name any more keeps nobody away.
            ours = lock.try_take() and _names(path, lock) and is_free(port)
        except OSError:
            ours = False
        if ours:
            self._locks.append((path, lock))
        else:
            lock.close()
        return ours


def _names(path: Path, lock: Lock) -> bool:
    return os.path.samestat(os.fstat(lock.descriptor), path.stat())


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now, on any address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: without it, old connections in TIME_WAIT would pass for a server.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
            probe.listen()
        except OSError:
            return False
    return True


def _candidates() -> list[int]:
    """Ports that the kernel hands to nobody by itself."""
    first, last = _EPHEMERAL
    try:
        first, last = map(int, _RANGE.read_text().split())
    except (OSError, ValueError):
        pass
    outside = [port for port in range(_LOWEST, _HIGHEST + 1) if not first <= port <= last]
    return outside if len(outside) >= _TRIES else list(range(_LOWEST, _EPHEMERAL[0]))


def _directory() -> Path:
    # Not TMPDIR, which is another one in each group that has a `tmpdir` of its own.
    root = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
    directory = root / f"harness-ports-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid != os.getuid() or directory.is_symlink():
        raise OSError(f"{directory} belongs to somebody else")
    return directory
