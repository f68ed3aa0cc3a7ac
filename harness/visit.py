"""A visit to a group's environment: what a run would have made for it, with a program of the user's in it.

Services and leases are started and made as in a run, and stopped and released when the program has ended, however that
was. Nothing is recorded: there is no run.
"""

import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from harness.events import AnyEvent
from harness.files import RunFiles
from harness.isolation.environments import Environments
from harness.jobs import DEFAULTS, make_job, marks, run_variables
from harness.model import Group, Job, Status
from harness.process import Control
from harness.request import Request
from harness.services import Services


def visit(request: Request, group: Group, inside: Callable[[Job], int], notify: Callable[[AnyEvent], None]) -> int:
    """What `inside` returns, which gets the attempt that would run. Raises InfrastructureError where nothing can be
    made."""
    run_id = f"{datetime.now():%Y%m%d_%H%M%S}-visit"
    with tempfile.TemporaryDirectory(prefix="harness-") as place:
        files = RunFiles(Path(place), run_id)
        files.run_dir.mkdir()
        services = Services(
            request.plan,
            request.services,
            env=DEFAULTS | request.dotenv | request.shell | marks(request, run_id),
            files_log=files.service_log,
            notify=notify,
            run_id=run_id,
        )
        environments = Environments(
            request.plan,
            group.isolate,
            run_id=run_id,
            variables=lambda: run_variables(request, run_id, services.values),
            services=services.values,
            notify=notify,
        )
        try:
            environments.open()
            services.start()
            environments.ready()
            job = environments.enter(make_job(request, files, group, services.values, attempt=1, slot=0), Control())
            try:
                return inside(job)
            finally:
                environments.leave(job, Status.PASSED)
        finally:
            environments.close()
            services.stop()
