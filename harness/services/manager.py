"""Services: started before the run, watched while it lasts, stopped after it in every case.

Protocol. `start` (main thread) starts each service as soon as those that it depends on are ready, independent ones
side by side, one thread each; it returns when all are ready, or stops what it had started and raises. From then on a
thread per service is blocked in wait() on its process, so that a death is reported at once, without polling. `stop`
ends them in reverse order; it may be called at any time, from any thread, and again; a `start` under way then gives
up. `hurry` only sets a flag and puts a word on a SimpleQueue, whose put is reentrant: a signal handler may call it.

What happens is told through `notify`, from several threads, but in order for each service: ServiceStarted for every
process tried, ServiceReady, and ServiceStopped or ServiceFailed. Nothing here knows groups or policy.
"""

import graphlib
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue

from harness import threads
from harness.errors import InfrastructureError
from harness.events import Warned
from harness.masking import Secrets
from harness.model import Plan, Service
from harness.ports import PortChooser
from harness.services.unit import Notify, NotNeeded, Unit

# What a worker thread says at its end: whose work it did, and what went wrong. None wakes the walk to look at a flag.
_Report = tuple[str, BaseException | None]


class Services:
    """The services `names` of the plan, and those that they depend on.

    `env` is the environment of the processes, to which each service's own is added; `files_log` gives the path of a
    service's log, in which `secrets` are masked. `values` holds what `{NAME.port}` and its like stand for, and is
    complete after `start`.
    """

    def __init__(
        self,
        plan: Plan,
        names: Sequence[str],
        *,
        env: Mapping[str, str],
        files_log: Callable[[str], Path],
        notify: Notify,
        run_id: str,
        secrets: Secrets,
    ) -> None:
        self.values: dict[str, dict[str, str]] = {}
        self._notify = notify
        self._needs = _closure(plan.services, names)
        ports = PortChooser()
        self._units = {
            service.name: Unit(
                service,
                project=Path(plan.project),
                run_id=run_id,
                env=env,
                log=files_log(service.name),
                log_limit=plan.log_limit,
                secrets=secrets,
                ports=ports,
                values=self.values,
                notify=notify,
            )
            for service in plan.services
            if service.name in self._needs
        }
        self._stops: SimpleQueue[_Report | None] = SimpleQueue()
        self._one_stop = threading.Lock()
        self._hurried = False

    def start(self) -> None:
        """Raises InfrastructureError when one does not become ready, or after `stop`."""
        try:
            _walk(self._needs, self._start, SimpleQueue())
        except NotNeeded:
            self.stop()
            raise InfrastructureError("stopped while starting the services") from None
        except BaseException:
            self.stop()
            raise

    def interrupt(self) -> None:
        """Make a `start`, under way or to come, give up. Does not wait."""
        for unit in self._units.values():
            unit.interrupt()

    def stop(self) -> None:
        """End all that runs, each within its grace, and remove what was made for it. One's trouble is a warning."""
        self.interrupt()
        with self._one_stop:
            _walk(_reversed(self._needs), self._stop, self._stops, self._look_hurried)

    def hurry(self) -> None:
        """Make a `stop`, under way or to come, end all at once, soon. For signal handlers and other threads."""
        self._hurried = True
        self._stops.put(None)

    def _start(self, name: str) -> None:
        self._units[name].start()

    def _stop(self, name: str) -> None:
        try:
            self._units[name].stop()
        except Exception as error:  # whatever it is, the others must be stopped all the same
            self._notify(Warned(message=f'service "{name}" could not be stopped: {error}'))

    def _look_hurried(self) -> None:
        if self._hurried:
            for unit in self._units.values():
                unit.hurry()


def _closure(services: Iterable[Service], names: Iterable[str]) -> dict[str, Collection[str]]:
    """For each of `names`, and all that they depend on: the services that it depends on."""
    depends_on = {service.name: service.depends_on for service in services}
    found: dict[str, Collection[str]] = {}
    missing = list(names)
    while missing:
        name = missing.pop()
        if name not in found:
            found[name] = depends_on[name]
            missing += depends_on[name]
    return found


def _reversed(needs: Mapping[str, Collection[str]]) -> dict[str, Collection[str]]:
    return {name: [other for other, needed in needs.items() if name in needed] for name in needs}


def _walk(
    needs: Mapping[str, Collection[str]],
    work: Callable[[str], None],
    reports: SimpleQueue[_Report | None],
    look: Callable[[], None] = lambda: None,
) -> None:
    """Do `work` for each name in a thread of its own where there can be one, as soon as it is done for all that the
    name needs.

    Raises the first error of `work`, or of `look`, which is called whenever something came through the queue.
    """

    def report(name: str) -> None:
        try:
            work(name)
        except BaseException as error:  # raised again by the walk
            reports.put((name, error))
        else:
            reports.put((name, None))

    sorter = graphlib.TopologicalSorter(needs)
    sorter.prepare()
    look()
    while sorter.is_active():
        for name in sorter.get_ready():
            try:
                threads.start(report, name, name=f"service {name}")
            except InfrastructureError:  # no more of them
                report(name)
        message = reports.get()
        look()
        if message is not None:
            name, error = message
            if error is not None:
                raise error
            sorter.done(name)
