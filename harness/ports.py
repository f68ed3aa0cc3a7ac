"""TCP ports of this machine: choosing free ones, and finding out whose a port is.

A port can only be chosen, never reserved: between choosing it and the service's own bind, somebody else may take it.
So whoever uses a chosen port asks afterwards (`is_taken`, `owner_of`) and chooses another one. Nothing here
listens or connects, so no probe leaves a connection in TIME_WAIT behind.
"""

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Mapping
from enum import IntEnum

LOOPBACK = "127.0.0.1"


class Owner(IntEnum):
    """Who listens on a port. Where several do, the lowest counts: one of the service's own is enough."""

    SERVICE = 0
    UNKNOWN = 1  # the system does not tell: another user's process, a container's proxy, macOS
    STRANGER = 2


class PortChooser:
    """Chooses ports, never the same one twice. Any thread may ask."""

    def __init__(self) -> None:
        self._chosen: set[int] = set()
        self._lock = threading.Lock()

    def choose(self) -> int:
        """A TCP port that is free at this moment, on every address."""
        refused: list[socket.socket] = []
        try:
            with self._lock:
                while True:
                    probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                    refused.append(probe)  # kept bound while we look, so that the system cannot offer it again
                    probe.bind(("", 0))
                    port: int = probe.getsockname()[1]
                    if port not in self._chosen:
                        self._chosen.add(port)
                        return port
        finally:
            for probe in refused:
                probe.close()


def is_taken(port: int) -> bool:
    """Whether a process holds the port on the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: without it, old connections in TIME_WAIT would pass for a process.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def owner_of(port: int, leader: int, marks: Mapping[str, str]) -> Owner:
    """Who listens on the port: the service, which is the session that `leader` (a pid) leads and whatever carries
    `marks` in its environment, or somebody else.
    """
    import psutil

    # Its own connections first, which is the usual case, before a look at every process of the machine.
    for scope in (lambda: psutil.Process(leader).net_connections("tcp"), lambda: psutil.net_connections("tcp")):
        with contextlib.suppress(psutil.Error):
            owners = {
                _owner(getattr(connection, "pid", leader), leader, marks)
                for connection in scope()
                if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            }
            if owners:
                return min(owners)
    return Owner.UNKNOWN


def _owner(pid: int | None, leader: int, marks: Mapping[str, str]) -> Owner:
    import psutil

    if pid is None:
        return Owner.UNKNOWN
    try:
        if os.getsid(pid) == leader:
            return Owner.SERVICE
        environment = psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return Owner.UNKNOWN
    own = all(environment.get(name) == value for name, value in marks.items())
    return Owner.SERVICE if own else Owner.STRANGER
