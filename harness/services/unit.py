"""One service through its life: prepared, started on a port, ready, watched, stopped, cleaned up.

Protocol. Three threads meet here: one runs `start`, one is blocked in wait() on the process, one runs `stop`; moreover
anybody may call `interrupt` and `hurry`, which return at once. What they share is guarded by one lock that is held
for moments only; after `interrupt` no process can begin any more, so `stop` leaves none behind.

Nothing here knows other services but for the values that stand for them: services.py decides who starts when.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Protocol

from harness import clock, threads
from harness.errors import InfrastructureError, shortage
from harness.events import AnyEvent, ServiceFailed, ServiceReady, ServiceStarted, ServiceStopped, Warned
from harness.logfile import LogFile
from harness.masking import Secrets
from harness.model import Service
from harness.planning.substitute import substitute
from harness.ports import LOOPBACK, Owner, PortChooser, is_taken, owner_of
from harness.process import Child
from harness.services.postgres import Postgres
from harness.services.readiness import Check, LogCheck, check_for, plain

PORT_TRIES = 3
FIRST_DELAY, LONGEST_DELAY = 0.01, 0.1  # between two questions whether it is ready: there is no other way to learn
HELPER_TIMEOUT = 120.0  # of initdb, which takes one second, or many on a slow disk
HURRIED_GRACE = 0.5
TAIL_LINES, TAIL_BYTES = 10, 16384

Notify = Callable[[AnyEvent], None]


class NotNeeded(Exception):
    """The start was given up because of `interrupt`."""


class _PortTaken(Exception):
    """Another process has the port that was chosen."""


class Kind(Protocol):
    """What makes one kind of service different from another. Its methods are called by one thread at a time."""

    stop_signal: int
    user: tuple[int, int] | None  # uid and gid to run as; read after `prepare`
    directory: str  # read after `prepare`

    def prepare(self, run: Callable[[Sequence[str]], None]) -> None:
        """Make what the service needs. `run` executes a helper as `user` and raises when it fails."""

    def command(self, port: int) -> tuple[str, ...]:
        """The argv for one more try; `waiting_for` is about that try from then on."""

    def url(self, port: int) -> str: ...

    def hear(self, output: bytes) -> None:
        """What the process of that try has printed. Called by a thread of its own."""

    def waiting_for(self, port: int) -> str:
        """What is still missing, for people; empty when it is ready."""

    def clean(self) -> None:
        """Remove what `prepare` made, also half made. Raises OSError when that cannot be done."""


class _Command:
    """The kind `command`: any program of the project."""

    stop_signal: int = SIGTERM
    user: tuple[int, int] | None = None

    def __init__(self, service: Service, project: Path, resolve: Callable[[str], str]) -> None:
        self.directory = str(project / service.directory)
        self._service = service
        self._resolve = resolve
        self._check: Check

    def prepare(self, run: Callable[[Sequence[str]], None]) -> None:
        pass

    def command(self, port: int) -> tuple[str, ...]:
        self._check = check_for(self._service.ready)
        command = self._service.command or ()
        argv = ("bash", "-c", command) if isinstance(command, str) else command
        return tuple(self._resolve(argument) for argument in argv)

    def url(self, port: int) -> str:
        return f"http://{LOOPBACK}:{port}"

    def hear(self, output: bytes) -> None:
        if isinstance(self._check, LogCheck):
            self._check.feed(output)

    def waiting_for(self, port: int) -> str:
        return self._check(port)

    def clean(self) -> None:
        pass


class _Process:
    """One process of the service, a helper such as initdb included."""

    def __init__(self, child: Child, stop_signal: int) -> None:
        self.child = child
        self.stop_signal = stop_signal
        self.wake = threading.Event()  # it has ended, or `start` must look whether it is still needed
        self.returncode: int | None = None


class Unit:
    """One service. `values` is shared with the others and holds what `{NAME.port}` and its like stand for."""

    def __init__(
        self,
        service: Service,
        *,
        project: Path,
        run_id: str,
        env: Mapping[str, str],
        log: Path,
        log_limit: int | None,
        secrets: Secrets,
        ports: PortChooser,
        values: MutableMapping[str, dict[str, str]],
        notify: Notify,
    ) -> None:
        self._name = service.name
        self._service = service
        self._env = env
        self._log = log
        self._log_limit = log_limit
        self._log_problem = ""  # that has been told
        self._secrets = secrets
        self._ports = ports
        self._values = values
        self._notify = notify
        self._marks = {"HARNESS_RUN_ID": run_id, "HARNESS_SERVICE": service.name}
        self._kind: Kind = (
            Postgres(project=project, env=env)
            if service.kind == "postgres"
            else _Command(service, project, self._resolve)
        )
        self._lock = threading.Lock()
        self._needed = True
        self._process: _Process | None = None
        self._ready = False
        self._announced = False  # ServiceStarted was sent, and neither ServiceFailed nor ServiceStopped since
        self._settled = threading.Event()  # `start` is not running
        self._settled.set()

    def start(self) -> None:
        """Return when it is ready. Raises InfrastructureError, or NotNeeded after `interrupt`."""
        with self._lock:
            if not self._needed:
                raise NotNeeded
            self._settled.clear()
        try:
            self._kind.prepare(self._run_helper)
            self._start_on_some_port()
        except InfrastructureError as error:
            self._fail(error.message)
            raise InfrastructureError(f'service "{self._name}" {error.message}\n{self._tail()}', error.cure) from error
        finally:
            self._settled.set()

    def interrupt(self) -> None:
        """Make `start` give up at once. Does not wait."""
        with self._lock:
            self._needed = False
            if self._process:
                self._process.wake.set()

    def stop(self) -> None:
        """End it, within its grace, and remove what was made for it. May be called again, and without a `start`."""
        self.interrupt()
        if self._process:
            self._process.child.stop(self._service.grace, self._process.stop_signal)
            self._tell_of_log(self._process.child)
        self._settled.wait()
        with self._lock:
            was_announced, self._announced = self._announced, False
        if was_announced:
            self._notify(ServiceStopped(service=self._name))
        try:
            self._kind.clean()
        except OSError as error:
            self._notify(Warned(message=f'what service "{self._name}" left behind could not be removed: {error}'))

    def hurry(self) -> None:
        """End it soon, whatever its grace. Does not wait; `stop` is needed all the same."""
        if process := self._process:
            shorter = (min(self._service.grace, HURRIED_GRACE), process.stop_signal)
            with contextlib.suppress(InfrastructureError):  # then it has its whole grace
                threads.start(process.child.stop, *shorter, name=f"hurry service {self._name}")

    def _start_on_some_port(self) -> None:
        for _ in range(PORT_TRIES):
            port = self._ports.choose()
            try:
                self._start_on(port)
            except _PortTaken:
                self._notify(Warned(message=f'service "{self._name}": another process took port {port} before it'))
                if self._process:  # alive still, when it is a stranger who answers on its port
                    self._process.child.stop(0)
            else:
                return
        raise InfrastructureError(
            f"found the port that was chosen for it taken by another process, {PORT_TRIES} times",
            "Check that it listens on {port} and on no fixed port.",
        )

    def _start_on(self, port: int) -> None:
        began = clock.now()
        self._values[self._name] = {"port": str(port), "host": LOOPBACK, "url": self._kind.url(port)}
        process = self._spawn(self._kind.command(port), self._kind.stop_signal)
        with self._lock:
            self._announced = True
        self._notify(ServiceStarted(service=self._name, pid=process.child.pid, port=port, log=str(self._log)))
        self._wait_until_ready(process, port, began + self._service.ready.timeout)
        with self._lock:
            if self._needed and process.returncode is None:
                self._ready = True
                # Under the lock, so that the news of its death can only come after it.
                self._notify(ServiceReady(service=self._name, seconds=clock.now() - began))
                return
        raise self._early_end(process, port)

    def _wait_until_ready(self, process: _Process, port: int, deadline: float) -> None:
        delay = FIRST_DELAY
        while missing := self._kind.waiting_for(port):
            remaining = deadline - clock.now()
            if remaining <= 0:
                raise InfrastructureError(
                    f"was not ready within {self._service.ready.timeout:g} s, still waiting for {missing}",
                    f"Check its `ready`, and that it listens on {LOOPBACK} and {{port}}. "
                    "If it only is slow, raise ready.timeout.",
                )
            if process.wake.wait(min(delay, remaining)):
                raise self._early_end(process, port)
            delay = min(1.5 * delay, LONGEST_DELAY)
        asks_port = self._service.ready.http or self._service.ready.tcp
        if asks_port and self._owner_of(port, process) is Owner.STRANGER:
            raise _PortTaken  # those were a stranger's answers

    def _early_end(self, process: _Process, port: int) -> Exception:
        """Why the wait for `process` is over although it is not ready."""
        if not self._needed:
            return NotNeeded()
        if is_taken(port) and self._owner_of(port, process) is not Owner.SERVICE:
            return _PortTaken()
        return InfrastructureError(
            f"ended with {_ending(process.returncode)} before it was ready",
            "Its log says why. A service has to stay in the foreground."
            if process.returncode == 0
            else "Its log says why.",
        )

    def _owner_of(self, port: int, process: _Process) -> Owner:
        return owner_of(port, process.child.pid, self._marks)

    def _run_helper(self, argv: Sequence[str]) -> None:
        process = self._spawn(argv, SIGTERM)
        ended = process.wake.wait(HELPER_TIMEOUT)
        if not self._needed:
            raise NotNeeded
        name, cure = Path(argv[0]).name, "Its log says why."
        if not ended:
            raise InfrastructureError(f"could not be prepared: {name} took longer than {HELPER_TIMEOUT:g} s", cure)
        if process.returncode != 0:
            raise InfrastructureError(f"could not be prepared: {name} ended with {_ending(process.returncode)}", cure)

    def _spawn(self, argv: Sequence[str], stop_signal: int) -> _Process:
        own = {name: self._resolve(value) for name, value in self._service.env.items()}
        env = {**self._env, **own, **self._marks}
        self._secrets.learn(own)
        log = LogFile(str(self._log), self._secrets, limit=self._log_limit)
        with self._lock:
            if not self._needed:
                raise NotNeeded
            try:
                child = Child(
                    argv,
                    env=env,
                    directory=self._kind.directory,
                    log=log,
                    hear=self._kind.hear,
                    user=self._kind.user,
                    grace=self._service.grace,
                )
            except (OSError, ValueError) as error:
                scarce = shortage(error)
                cure = "" if scarce else "Check its `command` and `directory` in harness.toml."
                raise InfrastructureError(f"could not be started: {scarce or error}", cure) from error
            self._process = process = _Process(child, stop_signal)
        threads.start(self._watch, process, name=f"watch service {self._name}")
        return process

    def _resolve(self, text: str) -> str:
        return substitute(text, self._values.get(self._name, {}), self._values)

    def _watch(self, process: _Process) -> None:
        returncode = process.child.wait(None)
        self._tell_of_log(process.child)
        with self._lock:
            process.returncode = returncode
            process.wake.set()
            died = self._ready and self._needed
        if died:
            self._fail(f"ended with {_ending(returncode)} while it was needed")

    def _tell_of_log(self, ended: Child) -> None:
        """That it could not be written, once."""
        with self._lock:
            told, self._log_problem = self._log_problem, self._log_problem or ended.log_problem
        if self._log_problem and not told:
            self._notify(Warned(message=self._log_problem))

    def _fail(self, reason: str) -> None:
        with self._lock:
            self._announced = False
        self._notify(ServiceFailed(service=self._name, reason=reason, log=str(self._log)))

    def _tail(self) -> str:
        """The end of its log, for people: no control characters, a few lines."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            text = ""
        lines = text.splitlines()[-TAIL_LINES:]
        heading = "the end of its log" if lines else "its log is empty"
        return "\n".join([f"{heading}: {self._log}", *(f"  {plain(line)}" for line in lines)])


def _ending(returncode: int | None) -> str:
    """A return code as subprocess gives it, in words."""
    if returncode is not None and returncode < 0:
        try:
            return f"signal {Signals(-returncode).name}"
        except ValueError:  # a real-time signal has no name
            return f"signal {-returncode}"
    return f"exit code {returncode}"
