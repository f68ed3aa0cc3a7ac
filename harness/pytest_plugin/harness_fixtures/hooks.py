"""The hooks of the plugin: which fixtures there are, who may run beside a test, and what a failure shows.

A fixture of ours gives way to one of the same name of any other plugin, as it does to those of conftests by pytest's
own rules. `-p no:harness_fixtures` turns all of it off, also in addopts, where pytest would let the
`-p harness_fixtures` of the harness's command line win.
"""

from __future__ import annotations

import importlib
import os
import signal
import threading
import types
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import pytest

from . import leases, leftovers, meeting
from .moment import WAITED, Moment
from .postgres import known_dsn

_FIXTURES = {
    "names": ("worker_id", "unique_test_id", "unique_name", "unique_email", "unique_client_name"),
    "leased": ("tenant", "redis_url", "redis_prefix", "free_port"),
    "postgres": ("_database", "postgres_dsn", "postgres_schema", "transaction"),
    "leftovers": ("_counter", "leftovers"),
    "limits": ("rate_limit",),
    "together": ("race", "load", "eventually", "retry_on_conflict"),
}
_MARKERS = (
    "serial: runs alone, while no other test of the run does, in whatever process",
    "redis_isolated: never runs beside another such test, but where its group has a Redis of its own",
    "heavy_resource: only so many such tests at a time as the plan's resource heavy_resource allows, else one",
    f'{leftovers.MARKER}(mode): "fail" or "warn", what the fixture leftovers does about rows that the test left',
)
_MEETING = "harness_fixtures_meeting"  # in the workerinput: not every worker has the controller's TMPDIR


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(leftovers.INI, "what the fixture leftovers does: fail or warn", default="fail")


# First, because conftests read the environment when they are loaded.
@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    leases.claim()


def pytest_configure(config: pytest.Config) -> None:
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    if "no:" + __package__.rpartition(".")[2] in config.getoption("plugins", []):
        return
    handed = getattr(config, "workerinput", {}).get(_MEETING)
    if handed:
        meeting.hand_over(Path(handed))
    config.pluginmanager.register(_fixtures(config), "harness_fixtures_chosen")
    config.pluginmanager.register(_Runs(), "harness_fixtures_runs")


def _fixtures(config: pytest.Config) -> types.ModuleType:
    """Our fixtures but for those whose name another plugin has."""
    chosen = types.ModuleType("harness_fixtures_chosen", "Fixtures for tests that run side by side.")
    others = [plugin for plugin in config.pluginmanager.get_plugins() if not _is_conftest(plugin)]
    theirs = {name for plugin in others for name in _fixture_names(plugin)}
    for module, names in _FIXTURES.items():
        ours = importlib.import_module("." + module, __package__)
        for name in names:
            if name not in theirs:
                setattr(chosen, name, getattr(ours, name))
    return chosen


def _is_conftest(plugin: object) -> bool:
    return PurePath(str(getattr(plugin, "__file__", ""))).name == "conftest.py"


def _fixture_names(plugin: object) -> Iterator[str]:
    """By their marks: that of pytest 8.4 and later, and the one before."""
    # Without calling properties of theirs, which may warn, raise or take long.
    for holder in (plugin, *type(plugin).__mro__):
        for attribute, thing in list(getattr(holder, "__dict__", {}).items()):
            marks = getattr(thing, "__dict__", {}) if callable(thing) else {}
            mark = marks.get("_fixture_function_marker") or marks.get("_pytestfixturefunction")
            if mark:
                yield mark.name or attribute


class _Runs:
    """The hooks around tests."""

    def __init__(self) -> None:
        self._moment = Moment()
        self._when_stopped: list[tuple[str, str]] = []
        self._of_workers: Path | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Sequence[object]) -> None:
        leases.admit_workers(len(specs))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        self._of_workers = self._of_workers or meeting.temporary_directory(node.workerinput["testrunuid"])
        node.workerinput[_MEETING] = str(self._of_workers)

    def pytest_unconfigure(self) -> None:
        if self._of_workers:
            meeting.remove(self._of_workers)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtestloop(self) -> Generator[None, None, None]:
        with self._looking_around_at_sigterm():
            yield

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, None, None]:
        try:
            with meeting.around_test(item.nodeid, {marker.name for marker in item.iter_markers()}):
                yield
        except meeting.Waited as interrupt:
            self._when_stopped.append((WAITED, str(interrupt)))
            raise KeyboardInterrupt from None
        except meeting.MeetingError as error:
            raise pytest.UsageError(str(error)) from None

    # After pytest's own, which tears the fixtures down.
    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        leftovers.check(item)

    # Outermost, because a failure that was expected becomes a pass only further in.
    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, Any, None]:
        outcome = yield
        if outcome.excinfo is None and outcome.get_result().failed:
            outcome.get_result().sections.extend(self._moment.sections())

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for title, text in self._when_stopped:
            terminalreporter.section(f"{title}, when it was stopped")
            terminalreporter.write_line(text)

    @contextmanager
    def _looking_around_at_sigterm(self) -> Iterator[None]:
        """The harness stops a group with SIGTERM, of which harness_pytest makes a KeyboardInterrupt: a test that hangs.

        Whoever blocks it is to be seen before the interrupt ends its queries. Handlers of the users stay.
        """

        def look(number: int, frame: Any) -> None:
            self._when_stopped += self._moment.sections()
            signal.default_int_handler(number, frame)

        look.harness_stops = True  # type: ignore[attr-defined]
        is_useful = bool(known_dsn() or os.environ.get("HARNESS_SHARED"))
        is_main = threading.current_thread() is threading.main_thread()
        ours = is_main and signal.getsignal(signal.SIGTERM) is signal.default_int_handler and is_useful
        if ours:
            signal.signal(signal.SIGTERM, look)
        try:
            yield
        finally:
            if ours and signal.getsignal(signal.SIGTERM) is look:
                signal.signal(signal.SIGTERM, signal.default_int_handler)
