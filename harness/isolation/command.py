"""The isolation kind `command`: whatever a command of the plan makes, and another one removes.

`setup` writes `KEY=value` lines, as in an env file (config/dotenv.py), to the file that $HARNESS_ENV names; they become
variables of the tests. Both commands run in the project's directory with the run's variables and HARNESS_LEASE (twelve
hexadecimal digits that no other lease has), HARNESS_GROUP, HARNESS_PART, HARNESS_SLOT and HARNESS_RUN_ID.

`teardown` gets the variables that `setup` wrote as well. It must be able to run twice, and after a setup that failed
half-way or never ran. After a crash another process runs it, and gets none of them: any could hold a secret, so they
are written nowhere. What it needs it should find by HARNESS_LEASE.

A process that `setup` leaves running must not hold its output, or the setup does not end.
"""

import contextlib
import shlex
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.config.dotenv import parse_dotenv
from harness.errors import InfrastructureError, UsageError
from harness.files import PRIVATE_DIRECTORY, PRIVATE_FILE, private_directory
from harness.isolation.lease import BaseKind, Context, Lease, Made
from harness.masking import Secrets
from harness.masking.choice import secret_variables
from harness.process import ToolError, run_tool

_OURS = "HARNESS_"


class Command(BaseKind):
    """One entry of [isolation.NAME] with `kind = "command"`."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        super().__init__(options, context)
        self._written: dict[str, dict[str, str]] = {}  # by token, what setup wrote
        self._lock = threading.Lock()

    def plan(self, lease: Lease) -> Mapping[str, str]:
        return {}

    def make(self, lease: Lease, learned: Callable[[Mapping[str, str]], None]) -> Made:
        directory = self._directory(lease)
        try:
            private_directory(directory.parent)
            directory.mkdir(mode=PRIVATE_DIRECTORY)
            file = directory / "env"
            file.touch(PRIVATE_FILE)
            try:
                self._run("setup", lease, {"HARNESS_ENV": str(file)}, self.context.stopping)
            except ToolError as error:
                # What it had written by then is what teardown goes by.
                with contextlib.suppress(InfrastructureError):
                    self._keep(lease, _variables(file))
                raise self._told(lease, "setup", error) from None
            variables = _variables(file)
            self._keep(lease, variables)
            shutil.rmtree(directory)
        except OSError as error:
            raise InfrastructureError(f"setup has no place for $HARNESS_ENV: {directory}: {error.strerror}") from error
        return Made(variables, {}, secret_variables(variables, self.options["secrets"]))

    def release(self, lease: Lease) -> None:
        directory = self._directory(lease)
        try:
            # There is still one where the setup failed, or its run died.
            if directory.exists():
                shutil.rmtree(directory)
        except OSError as error:
            raise InfrastructureError(f"setup's file cannot be removed: {directory}: {error.strerror}") from error
        if self.options.get("teardown") is None:
            return
        with self._lock:
            written = self._written.get(lease.token, {})
        try:
            self._run("teardown", lease, written)
        except ToolError as error:
            raise self._told(lease, "teardown", error) from None

    def _directory(self, lease: Lease) -> Path:
        """Where the file of its setup lies: known to whoever releases it, also after a crash."""
        return self.context.project / ".harness" / "setup" / lease.token

    def _run(self, which: str, lease: Lease, more: Mapping[str, str], stop: threading.Event | None = None) -> None:
        env = {
            **self.context.variables,
            **more,
            "HARNESS_LEASE": lease.token,
            "HARNESS_GROUP": lease.group,
            "HARNESS_PART": lease.part,
            "HARNESS_SLOT": str(lease.slot),
            "HARNESS_RUN_ID": lease.run_id,
        }
        timeout: float = self.options["timeout"]
        run_tool(self._argv(which), env=env, directory=self.context.project, timeout=timeout, stop=stop)

    def _argv(self, which: str) -> tuple[str, ...]:
        command = self.options[which]
        return ("bash", "-c", command) if isinstance(command, str) else tuple(command)

    def _keep(self, lease: Lease, variables: dict[str, str]) -> None:
        """Remembers them for teardown, here alone."""
        with self._lock:
            self._written[lease.token] = variables

    def _told(self, lease: Lease, which: str, error: ToolError) -> InfrastructureError:
        """The error without the script, which may be long, and the secrets that setup wrote: `set -x` prints them."""
        message = which + error.message.removeprefix(shlex.join(self._argv(which)))
        with self._lock:
            written = self._written.get(lease.token, {})
        secrets = Secrets()
        secrets.learn_given(written, secret_variables(written, self.options["secrets"]))
        return InfrastructureError(secrets.text(message), error.cure)


def _variables(file: Path) -> dict[str, str]:
    """What setup wrote. Raises InfrastructureError that names what is wrong, and shows no value."""
    try:
        variables = parse_dotenv(file.read_text(encoding="utf-8-sig"), "$HARNESS_ENV")
    except UsageError as error:
        raise InfrastructureError(f"setup wrote what is no variable:\n{error.message}", error.cure) from None
    except UnicodeDecodeError:
        raise InfrastructureError("setup wrote to $HARNESS_ENV what is not UTF-8") from None
    except OSError as error:
        raise InfrastructureError(f"setup left $HARNESS_ENV unreadable: {error.strerror}") from None
    if ours := sorted(name for name in variables if name.startswith(_OURS)):
        raise InfrastructureError(f"setup wrote {', '.join(ours)}: names that begin with {_OURS} are the harness's own")
    return variables
