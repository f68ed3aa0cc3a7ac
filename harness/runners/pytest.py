"""Runs a group's test files with pytest, in the users' interpreter, which need not be the harness's.

pytest is left as the users have set it up, its cache included. Groups that run side by side in one root directory do
share `.pytest_cache`, and its `lastfailed` is that of whichever ended last; but current pytest makes the directory
atomically and takes a torn file for an empty one, whereas `-p no:cacheprovider` breaks every suite with `--lf` in its
addopts or `config.cache` in its conftest.
"""

from pathlib import Path

from harness.judging import NO_TESTS_RAN
from harness.model import Group, Status
from harness.runners.launch import Launch, PytestOptions

# Put on PYTHONPATH whole, so it must hold nothing but the plugins.
PLUGIN_DIRECTORY = Path(__file__).parent.parent / "pytest_plugin"

FIXTURES = "harness_fixtures"
"""The plugin for tests, as pytest's -p and PYTEST_PLUGINS name it."""


class PytestRunner:
    def command(self, group: Group, *, python: str, options: PytestOptions) -> Launch:
        argv = [python, "-m", "pytest", "-p", "harness_pytest", "-p", FIXTURES]
        if options.markers:
            argv += ["-m", options.markers]
        if options.keyword:
            argv += ["-k", options.keyword]
        if group.workers:
            argv += ["-n", str(group.workers), "--dist", group.dist]
        # With these most groups may have none, and that is as it should be.
        none_asked_for = options.markers or options.keyword
        return Launch(
            argv=(*argv, *group.tests),
            statuses={0: Status.PASSED, NO_TESTS_RAN: Status.SKIPPED if none_asked_for else Status.NO_TESTS},
            reports_tests=True,
            warm=group.warm and not group.workers,  # the workers of pytest-xdist are processes of its own
            pythonpath=str(PLUGIN_DIRECTORY),
        )
