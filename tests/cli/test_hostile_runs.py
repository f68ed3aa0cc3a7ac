"""Whatever stands in a run's journal, `status`, `logs` and `merge` say what they can read, or that it is damaged."""

import contextlib
import copy
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from commands import ended
from projects import Harness

PLAN = """
[[phases]]
name = "p"
[[phases.groups]]
name = "a"
tests = ["test_a.py", "test_b.py"]
splittable = true
[[phases.groups]]
name = "b"
command = "false"
retries = 1
retry_delay = 0
"""
COMMANDS = (["status"], ["logs"], ["logs", "a"], ["merge", "shards"])
NUMBERS = [-1, 0, 1, 2, 2**31, 2**62, -(2**62)]
FLOATS = [1e308, -1e308, -1.0, 0.0, 1e18, 1e10, 1e-300]
TEXTS = [
    *("", "a", "b", "x", "x" * 100_000, "../../../etc/passwd", "/dev/zero", "a\0b", "\x1b[2J", "\u202e", "##[error]x"),
    *("1/1", "2/2", "1/9999", "0/0", "passed", "failed", "lost", "running", "test_a.py", "<b>", "%0A::error::x"),
]
DEEP = b'{"seq":1,"time":1,"elapsed":0,"data":{"event":"Warned","message":"x","y":' + b"[" * 100_000
GARBAGE = [b"\n", b"\xff\xfe\0\n", b"{}\n", b"[]\n", b"null\n", DEEP + b"\n", b"x" * 5_000_000 + b"\n"]


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run, once in its own log directory and once as the shard of another machine."""
    path = tmp_path_factory.mktemp("seed")
    harness = Harness(path, "hostile-runs")
    harness.plan(PLAN)
    for name in ("test_a.py", "test_b.py"):
        harness.write(name, "def test_x(): pass\ndef test_y(): assert False\n")
    assert harness.run("test", "--parallel", "--shard", "1/1").code == 1
    shutil.copytree(path / "logs", path / "shards")
    return path


@pytest.fixture(autouse=True)
def _here(seed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(seed)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    yield
    for path in journals(seed, "logs")[1:]:
        shutil.rmtree(path.parent)


def journals(seed: Path, directory: str) -> list[Path]:
    """The oldest first: those after it are merged ones."""
    return sorted((seed / directory).glob("run_*/events.jsonl"))


def torn(content: bytes, number: int) -> bytes:
    """The journal with something in it lost, doubled, moved, or written by somebody else."""
    random = Random(number)
    lines = content.splitlines(keepends=True)
    for _ in range(random.choice([1, 1, 1, 2])):
        at = random.randrange(len(lines))
        match random.choice([0, 1, 2, 3, 4, *[5] * 10]):
            case 0:
                lines.insert(at, random.choice(GARBAGE))
            case 1:
                del lines[at]
            case 2:
                lines.insert(random.randrange(len(lines)), lines[at])
            case 3:
                random.shuffle(lines)
            case 4:
                lines[at:] = [lines[at][: random.randrange(len(lines[at]))]]
            case _:
                with contextlib.suppress(ValueError, RecursionError):
                    lines[at] = json.dumps(bent(random, json.loads(lines[at]))).encode() + b"\n"
    return b"".join(lines)


def bent(random: Random, value: Any) -> Any:
    """The event with one value in it that is another of its type."""
    value = copy.deepcopy(value)
    here = value
    while True:
        way = random.choice(list(here) if isinstance(here, dict) else range(len(here)))
        if isinstance(here[way], dict | list) and here[way]:
            here = here[way]
            continue
        match here[way]:
            case bool(old):
                here[way] = not old
            case int():
                here[way] = random.choice(NUMBERS)
            case float():
                here[way] = random.choice(FLOATS)
            case str():
                here[way] = random.choice(TEXTS)
            case _:
                here[way] = random.choice([None, *NUMBERS, *FLOATS, *TEXTS])
        return value


def judge(seed: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    codes = Counter[int]()
    for directory in ("logs", "shards"):
        journals(seed, directory)[0].write_bytes(content)
    for words in COMMANDS:
        code, said = ended(words, monkeypatch)
        assert "Traceback" not in said
        # What two groups of which both failed come to is no pass, whoever wrote the journal.
        assert code in ((1, 3) if words[0] == "merge" else (0, 2, 3)), said
        assert said.startswith("error: ") or code == 0 or words[0] == "merge", said
        codes[code] += 1
    return codes


def try_all(seed: Path, monkeypatch: pytest.MonkeyPatch, numbers: range) -> Counter[int]:
    good = journals(seed, "logs")[0].read_bytes()
    codes = Counter[int]()
    try:
        for number in numbers:
            codes += judge(seed, torn(good, number), monkeypatch)
    except BaseException as error:
        error.add_note(f"torn(…, {number})")
        raise
    finally:
        for directory in ("logs", "shards"):
            journals(seed, directory)[0].write_bytes(good)
    return codes


def test_the_seed_is_a_good_run(seed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge(seed, journals(seed, "logs")[0].read_bytes(), monkeypatch) == {0: 3, 1: 1}


def test_some_journals(seed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {0, 3} <= try_all(seed, monkeypatch, range(100)).keys()


@pytest.mark.slow
def test_very_many_journals(seed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {0, 1, 3} <= try_all(seed, monkeypatch, range(1000, 2000)).keys()


def test_cut_off_at_every_line_and_in_it(seed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = journals(seed, "logs")[0].read_bytes()
    lengths = [length for length in range(len(good)) if length % 397 == 0 or good[length - 1 : length] == b"\n"]
    try:
        for length in lengths:
            judge(seed, good[:length], monkeypatch)
    finally:
        for directory in ("logs", "shards"):
            journals(seed, directory)[0].write_bytes(good)
