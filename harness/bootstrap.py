"""Makes the Python environment of the harness: HOME/.venv, with all that HOME/requirements.lock names.

    python -I harness/bootstrap.py HOME [ARGUMENT …]

exec.sh runs it, with whatever suitable Python it found, when the environment is missing or stale; it then becomes the
core with the ARGUMENTs, as exec.sh would have done. Protocol:

1. One set-up at a time: HOME/.harness/setup.lock is locked, and pip and uv inherit the lock, so that it is held as long
   as anything may still write into .venv, even when this process was killed.
2. While it works the lock file says `unfinished`. Who finds that word after taking the lock starts from nothing.
3. .venv/harness.stamp comes last: HOME and the whole lock file. exec.sh compares it with what is there now.

The harness itself is linked into site-packages, not installed: no build tool, no network, and edits count at once.
Imports nothing but the standard library: it runs before anything else is there.
"""

import fcntl
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

INFRASTRUCTURE = 3  # ExitCode.INFRASTRUCTURE: importing harness.errors needs the package that is being set up
SHOWN_LINES = 15
TOO_OLD = "import sys; sys.exit(sys.version_info < (3, 11))"


class SetupError(Exception):
    """The environment cannot be made; the message says why and what to do."""


class Setup:
    """One set-up of `home`, done while the lock `lock` (a file descriptor) is held."""

    def __init__(self, home: Path, lock: int) -> None:
        self.home = home
        self.lock = lock
        self.venv = home / ".venv"
        self.python = self.venv / "bin" / "python"
        self.stamp = self.venv / "harness.stamp"
        self.requirements = home / "requirements.lock"
        self.wanted = os.fsencode(home) + b"\n" + self.requirements.read_bytes()
        self.uv = shutil.which("uv")

    def is_ready(self) -> bool:
        return os.access(self.python, os.X_OK) and self.stamp.is_file() and self.stamp.read_bytes() == self.wanted

    def run(self) -> None:
        begun = time.monotonic()
        say(f"setting up the Python environment with {'uv' if self.uv else 'pip'} in {self.venv} …")
        unfinished = os.pread(self.lock, 1, 0) != b""
        os.pwrite(self.lock, b"unfinished\n", 0)
        if unfinished or not self._is_usable():
            self._make()
        self.stamp.unlink(missing_ok=True)
        self._install()
        self._link()
        self.stamp.write_bytes(self.wanted)
        os.truncate(self.lock, 0)
        say(f"set up in {time.monotonic() - begun:.1f} s")

    def _is_usable(self) -> bool:
        """Whether the packages can be brought up to date in place, under the feet of a run that may be using them."""
        if self.stamp.is_file() and not self.stamp.read_bytes().startswith(os.fsencode(self.home) + b"\n"):
            return False
        try:
            probe = subprocess.run([self.python, "-I", "-c", TOO_OLD], capture_output=True, check=False)
        except OSError:
            return False
        return probe.returncode == 0

    def _make(self) -> None:
        # Of the interpreter itself, not of a link to it: when that link moves on to another version, the
        # environment is found to be broken and made again, instead of silently losing its packages.
        base = Path(sys.executable).resolve()
        place = self.venv.resolve()
        if place.exists():
            shutil.rmtree(place)
        if self.uv:
            self._call([self.uv, "venv", "--quiet", "--python", base, place])
        else:
            self._call([base, "-I", "-m", "venv", "--without-pip", place])

    def _packages(self) -> Path:
        (packages,) = self.venv.glob("lib/python*/site-packages")
        return packages

    def _install(self) -> None:
        what: list[str | Path] = ["--require-hashes", "--no-deps", "--requirement", self.requirements]
        if not self.uv:
            self._ensure_pip()
            self._call([self.python, "-I", "-m", "pip", "install", "--quiet", "--no-input", *what])
            return
        install: list[str | Path] = [self.uv, "pip", "install", "--quiet", "--python", self.python]
        try:
            # What is in the cache needs no index: faster, and it works where there is no network.
            self._call([*install, "--offline", *what])
        except SetupError:
            self._call([*install, *what])

    def _ensure_pip(self) -> None:
        """uv makes environments without pip, and Debian a Python that can make none with it."""
        if (self._packages() / "pip").is_dir():
            return
        if importlib.util.find_spec("ensurepip") is None:
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            raise SetupError(
                f"{sys.executable} has no ensurepip, and there is no uv: install one of them "
                f"(apt install python{version}-venv) or name another Python in HARNESS_PYTHON"
            )
        self._call([self.python, "-I", "-m", "ensurepip"])

    def _link(self) -> None:
        link = self._packages() / "harness"
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        link.unlink(missing_ok=True)
        link.symlink_to(self.home / "harness")
        script = self.venv / "bin" / "harness"
        # Not a #! line with Python: that one may hold neither a space nor more than 127 bytes.
        command = f'#!/bin/sh\nexec {shlex.quote(str(self.python))} -I -m harness "$@"\n'
        script.write_bytes(os.fsencode(command))
        script.chmod(0o755)

    def _call(self, argv: list[str | Path]) -> None:
        done = subprocess.run(
            argv,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            errors="replace",
            pass_fds=(self.lock,),
            check=False,
        )
        if done.returncode != 0:
            lines = ["  " + line for line in done.stdout.splitlines()[-SHOWN_LINES:]]
            how = f"exit code {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
            raise SetupError("\n".join([f"{shlex.join(map(str, argv))} failed with {how}", *lines]))


def say(message: str) -> None:
    """To stderr: stdout belongs to the command that was asked for."""
    print(f"harness: {visible(message)}", file=sys.stderr, flush=True)


def visible(message: str) -> str:
    """What tools say and how directories are called must not act on a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in message)


def prepare(home: Path) -> None:
    """Returns when HOME/.venv is ready. Raises SetupError, or OSError where files cannot be read or written."""
    state = home / ".harness"
    state.mkdir(exist_ok=True)
    lock = os.open(state / "setup.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up of the Python environment …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        setup = Setup(home, lock)
        if not setup.is_ready():
            setup.run()
    finally:
        os.close(lock)


def main() -> NoReturn:
    home = Path(sys.argv[1])
    try:
        prepare(home)
    except SetupError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        sys.exit(INFRASTRUCTURE)
    except OSError as error:
        print(f"error: the Python environment cannot be set up: {visible(str(error))}", file=sys.stderr)
        sys.exit(INFRASTRUCTURE)
    except KeyboardInterrupt:
        # Ends as the signal would have ended it, so that a calling shell script stops too.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    python = os.fspath(home / ".venv" / "bin" / "python")
    os.execv(python, [python, "-I", "-m", "harness", *sys.argv[2:]])


if __name__ == "__main__":
    main()
