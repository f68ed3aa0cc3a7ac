"""What stands in the log of a group besides what its processes print: the header line of each attempt."""

import shlex
import time

from harness.model import Job


def header_of(job: Job, started_at: float) -> str:
    """The line under which the output of an attempt stands."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started_at))
    line = f"=== {job.name} · attempt {job.attempt} · {when} · slot {job.slot} · $ {shlex.join(job.argv)}"
    return on_one_line(line)


def on_one_line(text: str) -> str:
    """On one line: a command of several must not make a header of several."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
