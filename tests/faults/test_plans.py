"""Cases 31 to 34: plans that are wrong are refused whole, and names are only names."""

import json

import pytest
from faults.stage import Stage

GROUPS = '[[phases]]\nname = "p"\n'


def group(name: str, more: str = "") -> str:
    return f'[[phases.groups]]\nname = {json.dumps(name)}\ncommand = "touch started"\n{more}\n'


WRONG = {
    "31 a cycle": (group("a", 'depends_on = "b"') + group("b", 'depends_on = "a"'), "a → b → a"),
    "31 itself": (group("a", 'depends_on = "a"'), "itself"),
    "31 missing": (group("a", 'depends_on = "nobody"'), "nobody"),
    "31 twice": (group("a") + group("a"), "already"),
    "33 unknown key": (group("a", "timeuot = 3"), "timeout"),
    "33 wrong type": (group("a", 'timeout = ["soon"]'), "timeout"),
    "33 wrong value": (group("a", "retries = -1"), "retries"),
    "34 missing file": ('[[phases.groups]]\nname = "a"\ntests = "test_missing.py"\n', "test_missing.py"),
    "32 empty name": (group(""), "name"),
}


@pytest.mark.parametrize(("plan", "hint"), WRONG.values(), ids=WRONG.keys())
def test_cases_31_33_34_a_wrong_plan_starts_nothing(stage: Stage, plan: str, hint: str) -> None:
    stage.plan(GROUPS + plan)
    ran = stage.run("test", "--parallel")
    assert ran.code == 2
    assert hint in ran.stderr
    assert "harness.toml:" in ran.stderr
    assert not (stage.directory / "started").exists()
    assert not (stage.directory / "logs").exists()
    stage.judge()


@pytest.mark.parametrize(
    ("name", "value"), [("MAX_PARALLEL_JOBS", "0"), ("MAX_PARALLEL_JOBS", "1e3"), ("RUN_STRESS_TESTS", "perhaps")]
)
def test_case_33_a_bad_variable_starts_nothing(stage: Stage, name: str, value: str) -> None:
    stage.groups("touch started", head='[[phases]]\nname = "s"\nwhen = "RUN_STRESS_TESTS"\n' + group("s"))
    ran = stage.run("test", "--parallel", env={name: value})
    assert ran.code == 2
    assert name in ran.stderr
    assert value in ran.stderr
    assert not (stage.directory / "started").exists()
    stage.judge()


NAMES = [
    "../../x",
    "n" * 300,
    "A",
    "a",
    "a_b",
    "a b",
    "-rf",
    ".",
    "..",
    "/etc/passwd",
    "a/b",
    "$(x)",
    "ü",
    "\u05d0\u05d1",
    "\u202etxt.exe",
]


def test_case_32_any_name_is_a_file_of_its_own_inside_the_log_directory(stage: Stage) -> None:
    stage.plan(GROUPS + "".join(group(name) for name in NAMES))
    outside = set(stage.directory.parent.iterdir())
    ran = stage.run("test", "--parallel")
    assert ran.code == 0, ran.stderr
    assert set(ran.statuses) == set(NAMES)
    logs = [path for path in (stage.directory / "logs").glob("*.log") if not path.name.startswith("parallel_run_")]
    assert len({path.name.lower() for path in logs}) == len(NAMES)
    assert len(list((stage.directory / "logs").glob(".*_status_*"))) == len(NAMES)
    assert set(stage.directory.parent.iterdir()) == outside
    stage.judge()


@pytest.mark.parametrize("name", ["a\nb", " ", "a\x1b[2J", "\x00"])
def test_case_32_what_is_no_line_of_text_is_no_name(stage: Stage, name: str) -> None:
    stage.plan(GROUPS + group("good") + group(name))
    ran = stage.run("test", "--parallel")
    assert ran.code == 2
    assert "name" in ran.stderr
    assert not (stage.directory / "started").exists()
    stage.judge()


def test_case_34_no_test_collected_and_an_exit_code_like_a_signals(stage: Stage) -> None:
    stage.write("test_none.py", "x = 1\n")
    stage.plan(GROUPS + '[[phases.groups]]\nname = "none"\ntests = "test_none.py"\n' + group("ends"))
    stage.plan((stage.directory / "harness.toml").read_text().replace("touch started", "exit 130"))
    ran = stage.run("test", "--parallel")
    assert ran.statuses == {"none": "no_tests", "ends": "failed"}
    assert ran.status_file("ends")["EXIT_CODE"] == "130"
    assert ran.code == 1
    stage.judge()
