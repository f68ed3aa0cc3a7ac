"""Builds click options out of the declarations in config/options.py, so that each stands in one place only."""

from collections.abc import Callable, Collection
from typing import Any

import click

from harness.config.options import OPTIONS, Option

Command = Callable[..., Any]


class SectionedCommand(click.Command):
    """A command whose --help shows its options under the headings of config/options.py."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = {option.name: option.section for option in OPTIONS}
        rows: dict[str, list[tuple[str, str]]] = {section: [] for section in dict.fromkeys(sections.values())}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                rows.setdefault(sections.get(parameter.name or "", "Other"), []).append(record)
        for section, records in rows.items():
            if records:
                with formatter.section(section):
                    formatter.write_dl(records)


def run_options(without: Collection[str] = ()) -> Callable[[Command], Command]:
    """All options of a run, but those named. They arrive as texts, by name: `resolve` reads and checks them."""

    def decorate(command: Command) -> Command:
        for option in reversed(OPTIONS):
            if option.name not in without:
                command = _click_option(option)(command)
        return command

    return decorate


def _click_option(option: Option) -> Callable[[Command], Command]:
    if option.parse is None:
        return click.option(*option.flags, option.name, is_flag=True, help=option.help)
    given: dict[str, Any] = {"multiple": True, "metavar": option.metavar, "help": _help(option)}
    if option.alone is not None:
        given |= {"is_flag": False, "flag_value": option.alone}
    return click.option(*option.flags, option.name, **given)


def _help(option: Option) -> str:
    """The help with the variable that says the same, and the default."""
    remarks = [option.variable] if option.variable else []
    remarks += [f"default {option.default}"] if option.default else []
    return f"{option.help} [{'; '.join(remarks)}]" if remarks else option.help
