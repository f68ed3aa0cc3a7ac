"""Runs a group's command: a string in bash, a list as it is. Knows nothing of the tests inside."""

from harness.model import Group
from harness.runners.launch import Launch, PytestOptions


class CommandRunner:
    def command(self, group: Group, *, python: str, options: PytestOptions) -> Launch:
        if group.command is None:
            raise ValueError(f"group {group.name} has no command")
        argv = ("bash", "-c", group.command) if isinstance(group.command, str) else group.command
        return Launch(argv=argv)
