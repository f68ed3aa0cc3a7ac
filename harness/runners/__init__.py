"""The kinds of groups. To add one, write a Runner (launch.py) in a file of its own and name it here."""

from harness.model import Group
from harness.runners.command import CommandRunner
from harness.runners.launch import Launch, PytestOptions, Runner
from harness.runners.pytest import PLUGIN_DIRECTORY, PytestRunner

__all__ = ["PLUGIN_DIRECTORY", "RUNNERS", "Launch", "PytestOptions", "Runner", "runner_for"]

RUNNERS: dict[str, Runner] = {"pytest": PytestRunner(), "command": CommandRunner()}


def runner_for(group: Group) -> Runner:
    return RUNNERS["pytest" if group.command is None else "command"]
