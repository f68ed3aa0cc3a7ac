"""What a run stands on: services, isolated environments, warm parents, the executor, and what adopts stray processes.

Protocol. `open` and `begin` before the first group; `begin` starts the services in a thread of its own, so that the
loop hears of signals meanwhile, and says by a `Begin` or a `StartupFailed` how that went. `stop_making` once nothing
new is wanted. `end` at the last, in every case: it puts all of it away, in that same thread, and calls `loop` until
that is over.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future

from harness import threads
from harness.attempt import Output
from harness.errors import HarnessError, shortage
from harness.events import AnyEvent, Warned
from harness.executors import EXECUTORS
from harness.files import RunFiles
from harness.isolation.environments import Environments
from harness.jobs import DEFAULTS, learn_secrets, marks, parent_variables, run_variables, warm_processes
from harness.model import Group
from harness.process import Adoption
from harness.request import Request
from harness.scheduling.messages import Begin, Input, StartupFailed, Supply
from harness.services import Services
from harness.warm import Warm

Put = Callable[[Input | AnyEvent | None], None]
"""Puts something into the inbox of the loop; None only wakes it."""


class Ground:
    def __init__(
        self, request: Request, files: RunFiles, put: Put, observed: Callable[[AnyEvent | Output], None]
    ) -> None:
        """`observed` is called in the threads of attempts."""
        self._request = request
        self._put = put
        self._services_up = False
        self._keeper: threading.Thread | None = None
        self._over = threading.Event()  # nothing is to run any more
        self._closed: Future[None] = Future()
        self._adoption = Adoption()
        self.services = Services(
            request.plan,
            request.services,
            env=DEFAULTS | request.dotenv | request.shell | marks(request, files),
            files_log=files.service_log,
            notify=put,
            run_id=files.run_id,
            secrets=request.secrets,
        )
        self._environments = Environments(
            request.plan,
            {name for group in self._starting() for name in group.isolate},
            run_id=files.run_id,
            variables=lambda: run_variables(request, files, self.services.values),
            services=self.services.values,
            notify=put,
            has_tests=any(group.tests for group in self._starting()),
            keep=request.keep_environment,
            left_behind=lambda: self._adoption.has_any,
            secrets=request.secrets,
        )
        self._warm = Warm(
            warm_processes(request, self._starting()),
            adoption=self._adoption,
            variables=lambda: parent_variables(request, files, self.services.values, self._environments.hidden),
            warn=lambda message: put(Warned(message=message)),
        )
        self.executor = EXECUTORS["local"](request.jobs, observed, self._environments, self._warm, request.secrets)

    @property
    def marks(self) -> Mapping[str, str]:
        """The variables that all processes of attempts bear, and nothing else does."""
        return self._environments.marks

    def open(self) -> None:
        """Raises InfrastructureError."""
        self._adoption.begin()
        self._environments.open()

    def begin(self) -> None:
        """Raises InfrastructureError where no thread can be had."""
        self._keeper = threads.start(self._keep, name="keeper")

    def stop_making(self) -> None:
        """What is not there yet is not wanted any more. Once more is no harm."""
        self._environments.stop_making()
        self._warm.stop()

    def end(self, loop: Callable[[Callable[[], bool]], None]) -> None:
        """`loop` is to go on until what it is given is true."""
        self.stop_making()
        if not self._services_up:
            self.services.interrupt()  # or their start would not end
        if self._keeper is None:
            self._put_away()
            return
        self._over.set()
        try:
            loop(self._closed.done)
        finally:
            self._keeper.join()
        self._closed.result()

    def _keep(self) -> None:
        self._start()
        self._over.wait()
        try:
            self._put_away()
        except BaseException as error:  # raised again by `end`
            self._closed.set_exception(error)
        else:
            self._closed.set_result(None)
        self._put(None)

    def _start(self) -> None:
        try:
            self.services.start()
            self._services_up = True
            learn_secrets(self._request, self.services.values)
            supplies = {
                name: Supply(it.free, it.free if it.total is None else it.total, it.said, it.server)
                for name, it in self._environments.ready().items()
            }
        except HarnessError as error:
            if error.cure:
                self._put(Warned(message=error.cure))
            self._put(StartupFailed(error.message.splitlines()[0]))
        # Whatever it is, nothing can run, and the loop must hear of it.
        except BaseException as error:
            why = shortage(error) or f"the harness failed: {type(error).__name__}: {error}"
            self._put(StartupFailed(why))
        else:
            self._put(Begin(supplies))

    def _put_away(self) -> None:
        try:
            self.executor.close()
            self._warm.close()
            self._environments.close()
        finally:
            self.services.stop()
            self._end_strays()

    def _end_strays(self) -> None:
        """What bears no attempt's marks was nobody's until now."""
        count, immortal = self._adoption.end()
        if count:
            whose = "by a service, or by a group of which it bears no mark, since its environment was cleared"
            self._put(Warned(message=f"ended what was left running {whose} ({count} processes)"))
        for process in immortal:
            self._put(Warned(message=f"{process} was left running, and is another user's: it could not be ended"))

    def _starting(self) -> Iterator[Group]:
        """The groups that are going to run, if nothing stops them."""
        for phase in self._request.phases:
            if phase.name not in self._request.off:
                yield from (group for group in phase.groups if group.name not in self._request.cached)
