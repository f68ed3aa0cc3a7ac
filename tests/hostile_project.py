"""A project in which every name, id, message, log line and answer is hostile; and how its output is collected."""

import contextlib
import json
import os
import pty
import select
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import hostile
from hostile import toml
from projects import DEADLINE

from harness.files import RunFiles, all_runs

CLEAN = {name: value for name, value in os.environ.items() if "HARNESS" not in name} | {"PYTHONUTF8": "1"}
for name in ("CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "FORCE_COLOR", "NO_COLOR", "PYTHONPATH"):
    CLEAN.pop(name, None)

BRANCH = "$(touch${IFS}pwned)<script>##x"
AUTHOR = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
TEST_FILE = "test_$(touch pwned) '\"<b>&\u202e.py"
CONFTEST = """
import json
import pathlib

TEXTS = json.loads((pathlib.Path(__file__).parent / "texts.json").read_text())


def pytest_generate_tests(metafunc):
    metafunc.parametrize("text", TEXTS, ids=TEXTS)
"""
INI = """
[pytest]
addopts = --import-mode=importlib
disable_test_id_escaping_and_forfeit_all_rights_to_community_support = true
"""
TEST = """
import pytest

def test_it(text):
    pytest.fail(text, pytrace=False)
"""


def taps() -> str:
    lines = [
        f"not ok {number} - {text}\n  ---\n  message: {text}\n  ..." for number, text in enumerate(hostile.TEXTS, 1)
    ]
    return "\n".join(["TAP version 13", *lines, f"1..{len(lines)}"]) + "\n"


def group(name: str, **keys: object) -> str:
    texts = {"name": name, "description": hostile.EVERYTHING_IN_A_LINE, "category": name, **keys}
    return "[[phases.groups]]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in texts.items())


def _value(value: object) -> str:
    if isinstance(value, str):
        return toml(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {_value(each)}" for key, each in value.items()) + "}"
    return "[" + ", ".join(map(_value, value)) + "]" if isinstance(value, list) else str(value)


HEAD = """
[run]
grace = "1s"
timeout = "50s"

[[services]]
name = "noisy"
command = "cat bytes; exec sleep 1000"
ready = { log = "y" }

[isolation.tenant]
base_url = "ADDRESS"
attempts = 1
create = { path = "/c", body = { slug = "{name}" }, read = { IT = "it" } }
delete = { path = "/d" }
guard = { path = "/g", never_where = { live = true } }

[isolation.tmpdir]

[isolation.broken]
kind = "command"
setup = "cat bytes long >&2; exit 1"

[isolation.made]
kind = "command"
setup = 'cat lines >"$HARNESS_ENV"'
teardown = "cat bytes long; exit 1"
"""


def plan(address: str) -> str:
    """Every second of the named groups fails, and some compete for something that is called as they are."""
    counted = [name for number, name in enumerate(hostile.NAMES, 1) if number % 3]
    parts = [HEAD.replace("ADDRESS", address), "[resources]"]
    parts += [f"{toml(name)} = 2" for name in counted]
    parts += [f"[[pipeline]]\nname = {toml(name)}\ncommand = 'true'" for name in hostile.NAMES]
    parts += [f"[[phases]]\nname = {toml(hostile.LONG_NAME)}"]
    for number, name in enumerate(hostile.NAMES, 1):
        command = ["bash", "-c", f"cat bytes; exit ${{CODE:-{number % 2}}}"]
        needs = {name: 1} if name in counted else {}
        beside = [] if number % 5 else [name]
        isolate = ["tmpdir"] if name in hostile.DIRECTIONS else []
        env = {"X": hostile.EVERYTHING}
        parts += [group(name, command=command, needs=needs, parallel_group=beside, env=env, isolate=isolate)]
    parts += [group("tap", command="cat tap; exit 1", results="tap"), group("pytest", tests=[TEST_FILE])]
    parts += [group(name, command="true", isolate=[name]) for name in ("tenant", "broken", "made")]
    for name in hostile.NAMES[:20]:
        parts += [f"[[phases]]\nname = {toml(name)}\nwhen = 'OFF'", group(f"off {name}"[:300], command="true")]
    excuse = f"reason = {toml(hostile.EVERYTHING_IN_A_LINE)}\nexpires = 2999-01-01"
    return "\n".join([*parts, f"[[quarantine]]\ngroup = {toml(hostile.NAMES[0])}\n{excuse}"])


class Answers(BaseHTTPRequestHandler):
    """A server that answers everything with an error and hostile words, in JSON and around it."""

    def do_POST(self) -> None:
        body = json.dumps({"error": hostile.EVERYTHING}).encode()
        self.send_response(500, "x")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_DELETE = do_POST

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def answering() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass(frozen=True)
class Said:
    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode("utf-8")


@dataclass(frozen=True)
class Project:
    directory: Path

    @property
    def newest(self) -> RunFiles:
        """The files of the newest run."""
        return all_runs(self.directory / "logs")[0]

    def fill(self, plan: str) -> None:
        (self.directory / "harness.toml").write_text(plan, encoding="utf-8")
        (self.directory / "bytes").write_bytes(hostile.BYTES)
        (self.directory / "long").write_bytes(b"y" * 100_000)
        (self.directory / "tap").write_text(taps(), encoding="utf-8")
        (self.directory / "lines").write_text(f"LINE={hostile.EVERYTHING_IN_A_LINE}\n", encoding="utf-8")
        (self.directory / "texts.json").write_text(json.dumps(hostile.TEXTS))
        (self.directory / "conftest.py").write_text(CONFTEST)
        (self.directory / TEST_FILE).write_text(TEST)
        (self.directory / "pytest.ini").write_text(INI)
        (self.directory / ".gitignore").write_text("logs\n.harness\n__pycache__\n.pytest_cache\n")
        for words in (["init", "-q", "-b", BRANCH], ["add", "."], [*AUTHOR, "commit", "-qm", "x"]):
            subprocess.run(["git", *words], cwd=self.directory, env=CLEAN, check=True, timeout=DEADLINE)

    def call(self, *words: str, env: Mapping[str, str] | None = None) -> Said:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "harness", *words],
            cwd=self.directory,
            env=CLEAN | dict(env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr.decode("utf-8"))

    def on_a_terminal(self, *words: str) -> bytes:
        """What reaches a terminal of 200 columns, on stdout and on stderr."""
        master, slave = pty.openpty()
        line = f"stty cols 200 rows 50; exec {shlex.join([sys.executable, '-I', '-m', 'harness', *words])}"
        process = subprocess.Popen(
            ["bash", "-c", line],
            cwd=self.directory,
            env=CLEAN | {"TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        shown, deadline = bytearray(), time.monotonic() + DEADLINE
        with contextlib.suppress(OSError):  # Linux: the other end is closed
            while time.monotonic() < deadline:
                if select.select([master], [], [], 1)[0]:
                    data = os.read(master, 65536)
                    if not data:
                        break
                    shown += data
        os.close(master)
        process.wait(timeout=DEADLINE)
        return bytes(shown)
