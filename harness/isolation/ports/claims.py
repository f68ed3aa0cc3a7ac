"""Claims on TCP ports, by which all runs of a user on this machine keep out of one another's way.

A claim is a lock on a file that bears the port's number, in one directory for all of them. It ends with the process
that holds it, however that ends, so no claim outlives its run. Whoever knows nothing of claims (another user, any other
program) is kept away in two ways: only ports are offered that the kernel gives to nobody by itself, and one that
anything holds at that moment, on any address, is passed over. The search begins at a random port, so that two users
seldom try the same one.

Nothing here listens: a claimed port can be bound by whoever was told its number.
"""

import errno
import fcntl
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from harness.errors import InfrastructureError
from harness.files import PRIVATE_FILE
from harness.isolation.meeting_place import meeting_place

PROC = Path("/proc")

_LOWEST, _HIGHEST = 20_000, 65_535  # below them are the ports that people know
_EPHEMERAL = (32_768, 65_535)  # where the system does not tell: what Linux, macOS and the BSDs use, together
_ENOUGH = 1_000  # with fewer left outside the ephemeral ones, those below 32768 have to do


class Claim(NamedTuple):
    """A port that is ours until `release_claim`, or until this process ends."""

    port: int
    path: Path
    descriptor: int


def candidates(proc: Path = PROC) -> Sequence[int]:
    """The ports from 20000 that the kernel gives to nobody by itself, and that nobody told it to keep; ascending.

    `proc` is where procfs is mounted: without it (macOS) the ephemeral ports of all systems are left out. If an
    administrator has made nearly all ports ephemeral, those below 32768 are taken all the same.
    """
    first, last = _EPHEMERAL
    reserved: set[int] = set()
    with suppress(OSError, ValueError):
        first, last = map(int, (proc / "sys/net/ipv4/ip_local_port_range").read_text().split())
        for part in (proc / "sys/net/ipv4/ip_local_reserved_ports").read_text().strip().split(","):
            low, _, high = part.partition("-")
            if low:
                reserved.update(range(int(low), int(high or low) + 1))
    every = [port for port in range(_LOWEST, _HIGHEST + 1) if port not in reserved]
    outside = [port for port in every if not first <= port <= last]
    return outside if len(outside) >= _ENOUGH else [port for port in every if port < _EPHEMERAL[0]]


def is_free(port: int, *, despite_old: bool = False) -> bool:
    """Whether nothing holds the port, on any address, IPv4 or IPv6.

    A port on which connections of an ended server linger (TIME_WAIT) counts as held, unless `despite_old`.
    """
    for family, address in ((socket.AF_INET, ""), (socket.AF_INET6, "::")):
        try:
            probe = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue  # this machine has no such addresses
        with probe:
            if despite_old:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                # Where IPv6 is switched off, its addresses are refused for another reason.
                if family == socket.AF_INET or error.errno == errno.EADDRINUSE:
                    return False
    return True


def claim_free(ports: Sequence[int], directory: Path) -> Iterator[Claim]:
    """Claims free ports of `ports`, one each time it is asked, from a random one on."""
    start = secrets.randbelow(len(ports)) if ports else 0
    for step in range(len(ports)):
        port = ports[(start + step) % len(ports)]
        path = directory / str(port)
        descriptor = _locked(path, os.O_RDWR | os.O_CREAT)
        if descriptor is None:
            continue
        claim = Claim(port, path, descriptor)
        if is_free(port):
            yield claim
        else:
            release_claim(claim)


def release_claim(claim: Claim) -> None:
    """Gives the port back. To be called once."""
    # The file first, while it is locked: who opened it meanwhile will see that it has no name any more.
    with suppress(OSError):
        claim.path.unlink()
    os.close(claim.descriptor)


def claimed(directory: Path) -> set[int]:
    """The ports that are claimed now. Files that were left by runs which were killed are removed."""
    found = set()
    for path in directory.iterdir():
        if not path.name.isdecimal():
            continue
        descriptor = _locked(path, os.O_RDWR)
        if descriptor is None:
            found.add(int(path.name))
        else:
            release_claim(Claim(int(path.name), path, descriptor))
    return found


def _locked(path: Path, flags: int) -> int | None:
    """A descriptor that holds the lock of a file which still bears this name; None: somebody else has it."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW, PRIVATE_FILE)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise _cannot_claim(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except BlockingIOError:
        pass
    except OSError as error:
        os.close(descriptor)
        raise _cannot_claim(path, error) from error
    os.close(descriptor)
    return None


def held_ports(proc: Path = PROC) -> set[int]:
    """The ports on which this machine has a TCP socket; empty where there is no procfs."""
    held: set[int] = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            lines = (proc / "net" / name).read_text().splitlines()[1:]
            held.update(int(line.split()[1].rpartition(":")[2], 16) for line in lines)
    return held


def claims_directory() -> Path:
    """Where this user's claims are; made if it is not there. Raises InfrastructureError if it is not ours alone."""
    return meeting_place("ports")


def _cannot_claim(path: Path, error: OSError) -> InfrastructureError:
    cure = "Raise `ulimit -n`." if error.errno == errno.EMFILE else "Make the directory writable, or free some space."
    return InfrastructureError(f"cannot claim a port with {path}: {error.strerror or error}", cure)
