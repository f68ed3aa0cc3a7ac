"""The six oracles of docs/reliability.md: what must hold after every fault, looked at from outside.

Protocol: `judge` looks at a project whose runs have all ended, or were killed and recovered, and raises with everything
that is wrong, each under the number of its oracle. It reads files and processes by means of its own (json, xml,
sqlite3, bash, the process table) and imports nothing of the harness: a fault of the harness's readers must not hide one
of its writers. test_oracles.py plants one fault after another and sees each told.
"""

import base64
import html
import json
import os
import re
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil
from faults.agreement import disagreements, events_of, runs_of

TOKEN = "HARNESS_TEST_MARK"
STDERR_LINES = 12  # that a person reads
SHOWN = 5  # processes that are named
PIECE = 6  # characters: a shorter piece of a secret or of a name stands anywhere by chance
_FRAME = re.compile(r'File "[^"\n]*/harness/(?!pytest_plugin/)[\w/]+\.py", line \d+')


@dataclass(frozen=True)
class Said:
    """What one invocation of the harness told its caller. `code` as subprocess has it; None: it was killed."""

    code: int | None
    stdout: str
    stderr: str
    terminal: bool = False  # both came as one, with colours


@dataclass
class Scene:
    """Where to look, and what is allowed to be there."""

    project: Path
    token: str  # value of TOKEN in the environment of every process
    temporary: Path | None = None  # TMPDIR of the runs, and of nobody else
    said: Sequence[Said] = ()
    canaries: Sequence[str] = ()
    given: Sequence[Path] = ()  # files, and directories, that others than the harness wrote the canaries into
    inventory: Callable[[], frozenset[str]] = frozenset  # what is on the servers
    before: frozenset[str] = frozenset()  # what was there before the first run
    broken_reports: bool = False  # the disk took no more: reports may be missing, but none may be torn or lie
    history: bool = True  # it was not taken away from the harness
    settles: float = 5.0  # seconds in which what was killed, and the guardian of a run that has ended, disappear


def judge(scene: Scene) -> None:
    """Raises AssertionError with all that is wrong."""
    living = _processes(scene)  # first: a guardian that still works has its files to finish
    wrong = [
        *(
            f"O1 {line}"
            for line in disagreements(scene.project, reports=not scene.broken_reports, history=scene.history)
        ),
        *(f"O2 {line}" for line in living),
        *(f"O3 {line}" for line in _left_outside(scene)),
        *(f"O4 {line}" for line in _torn(scene)),
        *(f"O5 {line}" for line in _secrets(scene)),
        *(f"O6 {line}" for said in scene.said for line in _unclear(said)),
    ]
    assert not wrong, "\n".join(["after the run:", *wrong])


# --- O2


def _processes(scene: Scene) -> list[str]:
    """What lives when it has had its time to disappear. Looked at twice: in the midst of an exec a process has no
    environment."""
    limit = time.monotonic() + scene.settles
    empty = 0
    while True:
        found = list(_living(scene))
        empty = 0 if found else empty + 1
        if empty == 2 or (found and time.monotonic() > limit):
            return [f"a process is left: {line}" for line in found[:SHOWN]] + [f"{len(found)} in all"] * bool(found)
        time.sleep(0.05)


def _living(scene: Scene) -> Iterator[str]:
    logs = f"{scene.project}/"
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            environment = process.environ()
            bears = environment.get(TOKEN) == scene.token or environment.get("HARNESS_RUN_DIR", "").startswith(logs)
            if bears or f"{process.cwd()}/".startswith(logs):
                yield f"{process.pid} {' '.join(process.cmdline())[:100]}"
        except (psutil.Error, OSError):
            continue


# --- O3


def _left_outside(scene: Scene) -> Iterator[str]:
    told = {word for words in _told_as_leaked(scene) for word in words.split() if len(word) >= PIECE}
    for name in ("leases", "shared") if scene.broken_reports else ("leases", "shared", "runs"):
        directory = scene.project / ".harness" / name
        if directory.is_dir() and not (name == "leases" and told):
            yield from (f"{path.relative_to(scene.project)} is left" for path in sorted(directory.iterdir()))
    now = scene.inventory()
    for thing in sorted(now - scene.before):
        if not any(word in thing for word in told):
            yield f"not there before, and not told as leaked: {thing}"
    for thing in sorted(scene.before - now):
        yield f"gone, though it was there before: {thing}"
    if scene.temporary:
        for path in sorted(scene.temporary.iterdir()):
            if not any(word in str(path) for word in told):
                yield f"{path} is left in the directory for temporary files"


def _told_as_leaked(scene: Scene) -> Iterator[str]:
    """Whatever events say of leases that could not be removed, where the report marks their groups too."""
    for run in runs_of(scene.project):
        events = events_of(run)
        made = {event["token"]: event for event in events if event["event"] == "LeaseMade"}
        marked = {suite["name"] for suite in _suites(run) if suite["leaked"]}
        for event in events:
            if event["event"] == "LeaseEnded" and event["ending"] == "leaked" and event["group"] in marked:
                details = made.get(event["token"], {}).get("details", {})
                yield " ".join([event["token"], event.get("reason", ""), *details.values()])


def _suites(run: Path) -> list[dict[str, Any]]:
    try:
        return json.loads((run / "report.json").read_bytes())["suites"]
    except (OSError, ValueError):
        return []


# --- O4


def _torn(scene: Scene) -> Iterator[str]:
    for path in _files(scene):
        try:
            if path.name.endswith((".tmp", ".new")):
                yield f"{path.relative_to(scene.project)} is left"
            elif path.suffix == ".json":
                json.loads(path.read_bytes())
            elif path.suffix == ".jsonl":
                _parse_lines(path.read_bytes(), scene.broken_reports)
            elif path.suffix == ".xml":
                ElementTree.parse(path)
        except (ValueError, ElementTree.ParseError) as error:
            yield f"{path.relative_to(scene.project)} does not parse: {error}"
    yield from _sourced(scene)


def _files(scene: Scene) -> list[Path]:
    """Those that the harness writes."""
    places = [scene.project / "logs", scene.project / ".harness"]
    return sorted(path for place in places for path in place.rglob("*") if path.is_file() and not path.is_symlink())


def _parse_lines(data: bytes, may_be_cut: bool) -> None:
    *lines, end = data.split(b"\n")
    if end and not may_be_cut:
        raise ValueError("its last line has no end")
    for line in lines:
        json.loads(line)


# Each in a shell of its own, in which there is no program to call, and no file that it may make.
_SOURCE = r"""
set -f
for file; do (
    set -eu
    PATH=/nowhere
    . "$file"
    : "$GROUP" "$STATUS" "$EXIT_CODE" "$DURATION" "$ATTEMPTS" "$STARTED_AT" "$FINISHED_AT" "$LOG" "$REASON"
    [ "$STATUS" ]
) || printf '%s\0' "$file"; done
"""
_STATUS_LINE = re.compile(r"[A-Z_]+=([A-Za-z0-9@%+=:,./_-]*|('[^']*'|\"'\")+)")


def _sourced(scene: Scene) -> Iterator[str]:
    files = [path for path in _files(scene) if re.search(r"^\..*_status_\d{8}_\d{6}(-\d+)?$", path.name)]
    for path in files:
        for line in path.read_text("utf-8", "replace").removesuffix("\n").split("\n"):
            if not _STATUS_LINE.fullmatch(line):
                yield f"{path.name} has a line that is not KEY=value, safely quoted: {line[:80]!r}"
    for start in range(0, len(files), 200):
        some = [str(path) for path in files[start : start + 200]]
        told = subprocess.run(["bash", "-c", _SOURCE, "bash", *some], cwd="/proc", capture_output=True, text=True)
        if told.stdout or told.stderr:
            yield f"status files that cannot be sourced: {told.stdout} {told.stderr}"


# --- O5


def forms_of(secret: str) -> dict[str, bytes]:
    """The forms in which a secret is looked for, by what they are called."""
    forms = {"plain": secret}
    for number, line in enumerate(secret.splitlines()):
        forms[f"line {number + 1}"] = line
    raw = secret.encode()
    # As a part of something longer too: of each alignment what does not depend on the neighbours.
    for offset, skipped in ((0, 0), (1, 2), (2, 3)):
        whole = base64.b64encode(bytes(offset) + raw).decode().rstrip("=")
        certain = whole[skipped : (offset + len(raw)) * 8 // 6]
        forms[f"base64 at {offset}"] = certain
        forms[f"base64 for URLs at {offset}"] = certain.translate(str.maketrans("+/", "-_"))
    forms["URL"] = urllib.parse.quote(secret, safe="")
    forms["URL path"] = urllib.parse.quote(secret)
    forms["URL form"] = urllib.parse.quote_plus(secret)
    forms["JSON"] = json.dumps(secret)[1:-1]
    forms["JSON in UTF-8"] = json.dumps(secret, ensure_ascii=False)[1:-1]
    forms["XML"] = html.escape(secret)
    forms["XML text"] = html.escape(secret, quote=False)
    return {name: form.encode() for name, form in forms.items() if len(form) >= PIECE}


def _secrets(scene: Scene) -> Iterator[str]:
    if not scene.canaries:
        return
    given = [path.resolve() for path in scene.given]
    texts = {f"what was said, {number}": f"{it.stdout}\0{it.stderr}".encode() for number, it in enumerate(scene.said)}
    for path in sorted(scene.project.rglob("*")):
        if path.is_file() and not any(path.resolve().is_relative_to(it) for it in given):
            texts[str(path.relative_to(scene.project))] = os.fsencode(path.name) + b"\0" + path.read_bytes()
    for canary in scene.canaries:
        for form, data in forms_of(canary).items():
            yield from (f"a secret stands ({form}) in {where}" for where, text in texts.items() if data in text)


# --- O6


def _unclear(said: Said) -> Iterator[str]:
    lines = said.stderr.splitlines()
    both = f"{said.stdout}\n{said.stderr}"
    if "Traceback (most recent call last)" in said.stderr or _FRAME.search(both):
        yield f"a traceback of the harness: {said.stderr[-500:] or both[-500:]}"
    if "the harness failed:" in both:
        yield "the harness failed, and says so of a group"
    if len(lines) > STDERR_LINES:
        yield f"{len(lines)} lines on stderr"
    explained = any(line.startswith("error: ") for line in lines)
    # What stops a run that has begun stands in its summary.
    if (said.code == 2 and not explained) or (said.code == 3 and not explained and "error" not in said.stdout):
        yield f"exit code {said.code}, and nothing says what is wrong: {said.stderr!r}"
    if said.code == 70:
        yield f"the harness contradicts itself: {said.stderr}"
    if not said.terminal and "\x1b" in both:
        yield "an escape sequence in what is no terminal"
