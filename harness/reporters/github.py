"""GitHub Actions: foldable ends of logs, annotations at failed tests, and a step summary.

Protocol: workflow commands go to the console's stream, as GitHub asks; what stands in them is escaped by its rules,
and log lines are printed between `stop-commands` and a token that no log can guess, so that none of them is obeyed.
The step summary is Markdown in which foreign text is written as character references: nothing in it can be markup.
"""

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from harness.events import GroupFinished, RunFinished, Stamped
from harness.model import GroupResult, TestResult
from harness.record import GroupRecord
from harness.reporters.base import Context, Quiet
from harness.reporters.summary import why
from harness.reporters.tally import tally
from harness.reporters.text import GLYPHS, Sink, clean, plural, printable, seconds, tail

TAIL_LINES = 100
SUMMARY_DETAILS = 20  # failed tests whose details the step summary shows
DETAILS_LIMIT = 4000  # characters of each

# All but what means nothing to Markdown anywhere. With : and . go the addresses of which it would make links.
_SPECIAL = re.compile(r"[^\w /,()=-]|_", re.ASCII)
_APART = "<!-- -->"  # keeps GitHub from finding who or what is mentioned: it looks for that in finished text


class GitHub(Quiet):
    name: ClassVar[str] = "GitHub"
    durable: ClassVar[bool] = False

    def __init__(self, context: Context, token: Callable[[], str] = secrets.token_hex) -> None:
        self._context = context
        self._sink = Sink(context.stream, colour=False)
        self._token = token

    def handle(self, stamped: Stamped) -> None:
        match stamped.data:
            case GroupFinished() as event if event.result.status.is_failure:
                record = self._context.record.groups[event.result.group]
                self._sink.write([*self._folded_log(record), *self._annotations(record, event.result)])
            case RunFinished() if self._context.step_summary:
                with self._context.step_summary.open("a", encoding="utf-8") as file:
                    file.write(step_summary(self._context))

    def _folded_log(self, record: GroupRecord) -> list[str]:
        lines = tail(Path(record.log), TAIL_LINES, record.failed_part) if record.log else []
        if not lines:
            return []
        token = self._token()
        title = f"{record.group.name}: the end of {self._context.shown(record.log)}"
        return [f"::group::{command_data(title)}", f"::stop-commands::{token}", *lines, f"::{token}::", "::endgroup::"]

    def _annotations(self, record: GroupRecord, result: GroupResult) -> list[str]:
        command = "error" if result.counts_as_failure else "warning"
        if not record.failed_tests:
            title = f"{record.group.name} {result.status.value}"
            return [f"::{command} title={_property(title)}::{command_data(why(record) or result.status.value)}"]
        excuse = f"quarantined: {result.quarantined}: " if result.quarantined else ""
        return [self._annotation(command, test, excuse) for test in record.failed_tests]

    def _annotation(self, command: str, test: TestResult, excuse: str) -> str:
        properties = [*self._place(test), f"title={_property(test.id)}"]
        return f"::{command} {','.join(properties)}::{command_data(excuse + (test.message or test.status.value))}"

    def _place(self, test: TestResult) -> list[str]:
        """Where in the checkout a test failed, as far as its id and its traceback tell."""
        root, workspace = self._context.test_root, self._context.workspace
        name = test.id.partition("::")[0]
        if root is None or workspace is None or not os.path.isfile(root / name):  # noqa: PTH113  (a name too long is none)
            return []
        path = root / name
        if not path.is_relative_to(workspace):
            return []
        place = [f"file={_property(str(path.relative_to(workspace)))}"]
        lines = re.findall(rf"^(?:\S*/)?{re.escape(path.name)}:(\d+): ", test.details, re.MULTILINE)
        return [*place, f"line={lines[-1]}"] if lines else place


def command_data(text: str) -> str:
    """Foreign text as what follows a workflow command: one line, and nothing that the runner decodes."""
    return printable(text).replace("%", "%25")


def _property(text: str) -> str:
    return command_data(text).replace(":", "%3A").replace(",", "%2C")


def markdown(text: str) -> str:
    """Foreign text as text: whatever Markdown or HTML could read something into is a character reference."""
    return _SPECIAL.sub(_reference, printable(text))


def _reference(special: re.Match[str]) -> str:
    return f"&#{ord(special[0])};" + _APART * (special[0] in "@#")


def step_summary(context: Context) -> str:
    """The run as Markdown: a line, a table of its groups, and the details of the first failed tests."""
    from tabulate import tabulate

    record = context.record
    finished = [group for group in record.groups.values() if group.result]
    verdict = "passed" if record.finished and record.finished.exit_code == 0 else "failed"
    tallied = tally(record)
    counts = f"{len(tallied.passed)} of {plural(len(record.groups), 'group')} passed"
    counts += f", {len(tallied.cached)} cached" if tallied.cached else ""
    counts += f", {len(tallied.excused)} failed in quarantine" if tallied.excused else ""
    rows = [
        [
            markdown(group.group.name),
            f"{GLYPHS[group.result.status][0]} {group.result.status.value}" if group.result else "",
            str(len(group.tests) or ""),
            seconds(group.result.duration) if group.result and group.attempts else "",
            markdown(why(group)),
        ]
        for group in finished
    ]
    table = tabulate(
        rows,
        ["group", "status", "tests", "duration", ""],
        tablefmt="github",
        disable_numparse=True,
        colalign=["left", "left", "right", "right", "left"],
    )
    total = f"{seconds(record.makespan)}, {record.speedup:.1f} × as fast as one after another"
    head = f"### Integration tests {verdict}\n\n{counts} in {total}.\n\n{table}\n"
    failed = [test for group in [*tallied.failed, *tallied.excused] for test in group.failed_tests]
    return head + "".join(map(_details, failed[:SUMMARY_DETAILS]))


def _details(test: TestResult) -> str:
    text = "\n".join(clean(line) for line in test.details[-DETAILS_LIMIT:].splitlines()) or test.message
    body = "\n".join(markdown(line) for line in text.splitlines())
    return f"\n<details><summary>{markdown(test.id)}</summary>\n\n<pre>\n{body}\n</pre>\n\n</details>\n"
