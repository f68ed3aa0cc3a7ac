from pathlib import Path
from typing import Any

import pytest


def plan(*tests: str, run: str = "") -> str:
    groups = "".join(f"[[phases.groups]]\nname = '{index}'\ntests = {entry}\n" for index, entry in enumerate(tests))
    return f"[run]\n{run}\n[[phases]]\nname = 'p'\n{groups}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("test_a.py", "test_b.py", "sub/test_c.py", "sub/deep/test_d.py", ".venv/test_e.py",
                 "sub/__pycache__/test_f.py", "odd[1].py", "sub/.hidden/test_g.py"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("entry", "files"),
    [
        ("['test_?.py']", ["test_a.py", "test_b.py"]),
        ("['**/test_*.py']", ["sub/deep/test_d.py", "sub/test_c.py", "test_a.py", "test_b.py"]),
        ("['sub/**/*.py']", ["sub/deep/test_d.py", "sub/test_c.py"]),
        ("['sub/**']", ["sub/deep/test_d.py", "sub/test_c.py"]),
        ("['.venv/*.py']", [".venv/test_e.py"]),
        ("['odd[1].py']", ["odd[1].py"]),
        ("['./test_b.py', 'test_[a].py']", ["test_b.py", "test_a.py"]),
    ],
)
def test_entries_resolve_to_files_in_order(tree: Path, load: Any, entry: str, files: list[str]) -> None:
    assert tree
    assert list(load(plan(entry)).groups[0].tests) == files


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("['**.py']", '"**.py" is not a glob: ** stands alone between slashes'),
        ("['.']", "is a directory"),
        ("['*/nothing*.py']", "matches no file"),
        ("['test_*.py::TestA']", "is a glob with a pytest id"),
        ("['sub/']", "is a directory"),
        ("['~/test_a.py']", "leads out of the project"),
        ("['sub/../test_a.py']", "leads upward"),
        ("['link.py']", "is a link out of the project"),
        ("['']", "is not a path"),
        ("[]", "is empty"),
        ("5", "5 is not a path"),
        ("['test_a.py', 'test_a.py']", '"test_a.py" is in the plan already: phases[0].groups[0].tests[0]'),
        ("['test_a.py', './test_a.py']", "is in the plan already"),
    ],
)
def test_entries_that_are_wrong(
    tree: Path, refused: Any, tmp_path_factory: pytest.TempPathFactory, entry: str, message: str
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "link.py"
    outside.write_text("")
    (tree / "link.py").symlink_to(outside)
    problems = refused(plan(entry))
    assert len(problems) == 1
    assert message in problems[0]


def test_links_that_lead_upward_make_no_endless_tree(
    tree: Path, load: Any, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sub/up", "sub/again"):
        (tree / name).symlink_to(tree)
    assert list(load(plan("['**/test_c.py']")).groups[0].tests) == ["sub/test_c.py"]
    assert len(load(plan("['sub/*/*/test_c.py']")).groups[0].tests) == 2, "links are followed where nobody wrote **"
    monkeypatch.setattr("harness.planning.files._MOST_ENTRIES", 1000)
    for pattern in ("*/" * 30 + "*.py", "*/" * 3000 + "x"):
        (problem,) = refused(plan(f"['{pattern}']"))
        assert "it leads through more than 1,000 files and directories" in problem


def test_every_file_is_found_once_however_many_ways_lead_to_it(tree: Path, load: Any) -> None:
    assert tree
    assert list(load(plan("['**/**/**/test_d.py']")).groups[0].tests) == ["sub/deep/test_d.py"]


def test_classes_of_one_file_may_go_to_different_groups(tree: Path, load: Any, refused: Any) -> None:
    assert tree
    assert load(plan("['test_a.py::A']", "['test_a.py::B']")).groups[1].tests == ("test_a.py::B",)
    (problem,) = refused(plan("['test_a.py::A']", "['test_a.py::A::test_x']"))
    assert '"test_a.py::A::test_x" shares tests with "test_a.py::A", which is in the plan already' in problem


def test_a_whole_file_after_a_part_of_it_is_twice_too(tree: Path, refused: Any) -> None:
    assert tree
    (problem,) = refused(plan("['test_a.py::A']", "['test_a.py']"))
    assert problem.endswith(
        '"test_a.py" shares tests with "test_a.py::A", which is in the plan already: phases[0].groups[0].tests[0]'
    )


def test_tests_are_below_the_test_root(tree: Path, load: Any, refused: Any) -> None:
    assert tree
    assert load(plan("['test_c.py']", run="test_root = 'sub'")).groups[0].tests == ("test_c.py",)
    (problem,) = refused(plan("['test_a.py']", run="test_root = 'sub'"))
    assert '"test_a.py" is not there' in problem


@pytest.mark.parametrize("entry", ["*.py", "-k x.py", "./-k x.py", "-k x.py::test_it"])
def test_a_file_that_pytest_would_take_for_an_option_is_refused(tree: Path, refused: Any, entry: str) -> None:
    (tree / "-k x.py").touch()
    (problem,) = refused(plan(f"['{entry}']"))
    assert "would be an option of pytest's" in problem


@pytest.mark.parametrize("pattern", ["sub/**/*.py", "sub/**", "test_a.py", "./test_?.py"])
def test_inputs_are_files_or_globs(tree: Path, load: Any, pattern: str) -> None:
    assert tree
    assert load(plan("['test_a.py']") + f"inputs = '{pattern}'").groups[0].inputs == (pattern,)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("src/*.py", "matches no file"),
        ("sub", "is a directory"),
        (".", "is a directory"),
        ("test_z.py", "is not there"),
    ],
)
def test_inputs_must_match_something(tree: Path, refused: Any, pattern: str, message: str) -> None:
    assert tree
    (problem,) = refused(plan("['test_a.py']") + f"inputs = ['{pattern}']")
    assert "inputs[0]: " in problem
    assert message in problem
