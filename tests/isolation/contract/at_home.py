"""The worlds of the kinds that make things on this machine."""

import contextlib
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
from isolation.contract.world import Place, World, lease_with

from harness.isolation.lease import Lease, Made, new_token

CLAIMS = Path("/tmp", f"harness-ports-{os.geteuid()}")


def _inode(path: Path) -> int:
    """0: it is gone; another process of tests has claims there, too."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


class Ports(World):
    kind = "ports"
    roles = frozenset({"port"})

    def keys(self) -> dict[str, Any]:
        return {"variables": ["PORT", "OTHER_PORT"]}

    def claims(self) -> list[Path]:
        """Locked files: this process's and its children's, for all runs of this machine have one directory."""
        ours = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        inodes = {int(lock[5].rpartition(":")[2]) for lock in locks if lock[1] == "FLOCK" and int(lock[4]) in ours}
        return [path for path in CLAIMS.iterdir() if _inode(path) in inodes] if CLAIMS.exists() else []

    def inventory(self) -> frozenset[str]:
        return frozenset(f"claim {path.name}" for path in self.claims())

    def use(self, variables: Mapping[str, str]) -> None:
        with contextlib.ExitStack() as stack:
            for name in ("PORT", "OTHER_PORT"):
                address = ("127.0.0.1", int(variables[name]))
                listener = stack.enter_context(socket.create_server(address))
                client = stack.enter_context(socket.create_connection(address))
                server = stack.enter_context(listener.accept()[0])
                client.sendall(b"written")
                assert server.recv(100) == b"written"

    def exclusive(self, variables: Mapping[str, str]) -> frozenset[str]:
        return frozenset({variables["PORT"], variables["OTHER_PORT"]})

    def plant(self) -> None:
        """A claim has no name to be like another's: the leases of the other runs are enough."""

    def damages(self, lease: Lease, made: Made) -> list[Callable[[], object]]:
        return [lambda: [path.unlink() for path in self.claims()]]


class TmpDir(World):
    kind = "tmpdir"
    roles = frozenset({"directory"})

    def keys(self) -> dict[str, Any]:
        return {"home": True}

    def inventory(self) -> frozenset[str]:
        return frozenset(f"path {path}" for path in Path(self.place.home).rglob("*"))

    def use(self, variables: Mapping[str, str]) -> None:
        for name in ("TMPDIR", "HOME"):
            path = Path(variables[name], "sub")
            path.mkdir()
            (path / "file").write_text("written")
            path.chmod(0o500)
            assert (path / "file").read_text() == "written"

    def exclusive(self, variables: Mapping[str, str]) -> frozenset[str]:
        return frozenset({variables["TMPDIR"], variables["HOME"]})

    def plant(self) -> None:
        kind = self.make_kind()
        lease = self.new_lease()
        directory = Path(kind.make(lease_with(kind, lease), lambda _details: None).variables["TMPDIR"])
        kind.release(lease_with(kind, lease))
        similar = directory.with_name(directory.name.replace(lease.token, new_token()))
        similar.mkdir(parents=True)
        (similar / "theirs").write_text("theirs")

    def damages(self, lease: Lease, made: Made) -> list[Callable[[], object]]:
        directory = Path(made.variables["TMPDIR"])

        def lose(path: Path) -> None:
            for locked in path.rglob("sub"):
                locked.chmod(0o700)
            shutil.rmtree(path)

        return [lambda: lose(directory), lambda: lose(Path(made.variables["HOME"]))]


class Command(World):
    kind = "command"

    def keys(self) -> dict[str, Any]:
        return {
            "setup": "set -C; thing=things/$HARNESS_LEASE; echo made > $thing; echo THING=$thing >> $HARNESS_ENV",
            "teardown": "rm -f things/$HARNESS_LEASE",
            "timeout": "30s",
        }

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.things.mkdir(exist_ok=True)

    @property
    def things(self) -> Path:
        return Path(self.place.project, "things")

    def inventory(self) -> frozenset[str]:
        paths = [*self.things.iterdir(), *Path(self.place.home).rglob("*")]
        return frozenset(f"path {path}" for path in paths)

    def use(self, variables: Mapping[str, str]) -> None:
        with Path(self.place.project, variables["THING"]).open("a+") as file:
            file.write("written\n")
            file.seek(0)
            assert file.read() == "made\nwritten\n"

    def exclusive(self, variables: Mapping[str, str]) -> frozenset[str]:
        return frozenset({variables["THING"]})

    def plant(self) -> None:
        (self.things / new_token()).write_text("theirs")

    def damages(self, lease: Lease, made: Made) -> list[Callable[[], object]]:
        return [lambda: Path(self.place.project, made.variables["THING"]).unlink()]

    def settle(self) -> None:
        """A setup whose harness was killed goes on until it ends."""
        mine = [process for process in psutil.process_iter() if self._is_setup(process)]
        psutil.wait_procs(mine, timeout=30)

    def _is_setup(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            return process.cwd() == self.place.project
        return False
