"""Whatever stands in harness.toml, `list`, `plan` and `test --dry-run` end soon, say what is wrong, and do nothing.

Exit code 0, or 2 with every problem on a line of its own, or, where every phase of a good plan is off, 4. A few hundred
plans are tried each time, and ten thousand with the marker `slow`.
"""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import ended
from hostile_plans import FILES, SMALL, bent, real_files, torn

COMMANDS = (["list"], ["plan"], ["test", "--dry-run", "--parallel"])
SOON = 30  # seconds, on a machine that is busy with other things; one that is not takes a tenth of a second
PROBLEM = re.compile(r"error: harness\.toml:[1-9]\d*: \S.*")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with files, and with links that lead upward, so that its tree has no end."""
    path = tmp_path_factory.mktemp("hostile")
    for name in (*FILES, *real_files()):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("")
    for name in ("up", "sub/up", "sub/again"):
        (path / name).symlink_to(path)
    return path


@pytest.fixture(autouse=True)
def _nothing_to_start(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """There is no program that could be found, not even git."""
    monkeypatch.chdir(project)
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "TWO"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(project / "nowhere"))

    def too_long(*_: object) -> None:
        raise TimeoutError(f"not over after {SOON} s")

    before = signal.signal(signal.SIGALRM, too_long)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def left_behind(project: Path) -> set[str]:
    return {str(path.relative_to(project)) for path in project.rglob("*")}


def judge(monkeypatch: pytest.MonkeyPatch, project: Path, content: bytes) -> set[int]:
    """The exit codes that came of a plan, all of them right."""
    (project / "harness.toml").write_bytes(content)
    before = left_behind(project)
    codes = {}
    for words in COMMANDS:
        signal.setitimer(signal.ITIMER_REAL, SOON)
        code, said = ended(words, monkeypatch)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert code in (0, 2, 4), said
        if code == 2:
            problems, _, _ = said.partition("\n  ")  # a cure is indented
            assert all(line.isprintable() for line in said.splitlines())
            assert all(PROBLEM.fullmatch(line) for line in problems.splitlines()) or words[0] == "test", said
            assert problems.startswith("error: "), said
        codes[words[0]] = code
    assert codes["list"] == codes["plan"] != 4, "both tell of the plan alone"
    assert codes["test"] >= codes["list"], "what is no plan is no plan to run"
    assert left_behind(project) == before
    return set(codes.values())


makers = pytest.mark.parametrize("make", [torn, bent])


def test_the_seed_is_a_good_plan(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge(monkeypatch, project, SMALL.encode()) == {0}


@makers
def test_some_plans(project: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[int], bytes]) -> None:
    seen = [judge(monkeypatch, project, make(number)) for number in range(150)]
    assert {2} in seen
    assert {0} in seen, "or nothing behind the checks was tried"


@pytest.mark.slow
@makers
@pytest.mark.parametrize("thousand", range(1, 6))
def test_ten_thousand_plans(
    project: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[int], bytes], thousand: int
) -> None:
    for number in range(1000 * thousand, 1000 * thousand + 1000):
        try:
            judge(monkeypatch, project, make(number))
        except BaseException as error:
            error.add_note(f"{make.__name__}({number})")
            raise


@makers
def test_at_the_command_line(project: Path, make: Callable[[int], bytes]) -> None:
    for number in range(20):
        (project / "harness.toml").write_bytes(make(100_000 + number))
        done = subprocess.run(
            [sys.executable, "-I", "-m", "harness", *COMMANDS[number % 3]],
            cwd=project,
            env={"PATH": "/nowhere"},
            capture_output=True,
            timeout=60,
        )
        assert done.returncode in (0, 2, 4), done.stderr
        assert b"Traceback" not in done.stderr
        assert bool(done.stdout) is (done.returncode == 0)
