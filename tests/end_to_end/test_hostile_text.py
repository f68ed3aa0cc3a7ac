"""Names, ids, messages, log lines and answers are data: whatever they hold, nothing of it comes alive anywhere.

One project in which all of them are hostile is run a few times; every way to look at what became of it is judged by
what reads such output in earnest: a shell, parsers of XML and JSON, a browser's eyes, GitHub's runner, a terminal.
"""

import json
import re
import subprocess
import tomllib
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

import hostile
import pytest
from hostile_project import TEST_FILE, Project, Said, answering, plan
from junitparser import JUnitXml
from projects import DEADLINE

from harness.files import RunFiles

NAMES = [*hostile.NAMES, "tap", "pytest", "tenant", "broken", "made"]
PLACE = "$(touch pwned) '\"<b>\x1b[31m\u202e\n::error::pwned"
# What a name is to people: what nobody could see, and what a CI server would obey, is written so that it is seen.
SHOWN = [name for name in NAMES if not hostile.acting(name) and not hostile.commanding(name)]
GITHUB = {"GITHUB_ACTIONS": "true", "CI": "true"}
# Every line of a graph, with labels that end where they should.
GRAPHS = {
    "dot": re.compile(
        r"""\s*(?:digraph\ plan\ \{|rankdir=LR;\ compound=true;\ node\ \[shape=box\];|subgraph\ cluster_\d+\ \{|\}
        |(?:label=|g\d+\ \[label=)"(?:\\.|[^"\\])*"\]?;|g\d+\ ->\ g\d+(?:\ \[[\w=,\ ]+\])?;)$""",
        re.VERBOSE,
    ),
    "mermaid": re.compile(
        r"""\s*(?:flowchart\ LR|(?:subgraph\ p|g)\d+\["[^"<>\[\]`\\]*"\]|end|p\d+\ ==>\ p\d+|g\d+\ -\.?->\ g\d+)$""",
        re.VERBOSE,
    ),
}
WORD = "\x1b]0;x\x07\n::error::pwned\n ##[error]pwned \u202e$(touch pwned)"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    directory = tmp_path_factory.mktemp("hostile") / PLACE
    directory.mkdir()
    made = Project(directory)
    with answering() as address:
        made.fill(plan(address))
        yield made
    assert hostile.pwned(directory.parent) == []


@pytest.fixture(scope="module")
def first(project: Project) -> tuple[Said, RunFiles]:
    ran = project.call("test", "--parallel")
    assert ran.code == 1, ran.err
    return ran, project.newest


@pytest.fixture(scope="module")
def plain(first: tuple[Said, RunFiles]) -> Said:
    """What a run prints into a pipe."""
    return first[0]


@pytest.fixture(scope="module")
def files(first: tuple[Said, RunFiles]) -> RunFiles:
    """What it leaves."""
    return first[1]


@pytest.fixture(scope="module")
def in_actions(project: Project) -> tuple[Said, str]:
    """What a run prints under GitHub Actions, and its step summary."""
    summary = project.directory.parent / "summary.md"
    env = GITHUB | {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_WORKSPACE": str(project.directory)}
    ran = project.call("test", "--parallel", "--verbose", env=env)
    assert ran.code == 1, ran.err
    return ran, summary.read_text(encoding="utf-8")


# Shown to people


def test_what_a_run_prints_acts_on_nothing(plain: Said, files: RunFiles) -> None:
    assert hostile.objections(plain.text + plain.err) == []
    assert hostile.objections(files.main_log.read_text("utf-8")) == []
    for name in SHOWN:
        assert name in plain.text
    assert max(map(len, plain.text.splitlines())) < 10_000


def test_colours_are_the_only_escapes_where_they_are_wanted(project: Project) -> None:
    ran = project.call("test", "--parallel", "--verbose", env={"FORCE_COLOR": "1"})
    assert "\x1b[" in ran.text
    assert hostile.objections(ran.text, colours=True) == []


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["plan"],
        ["plan", "--jobs", "3"],
        ["plan", "--compare", "1..3"],
        ["plan", "--format", "mermaid"],
        ["plan", "--format", "dot"],
        ["status"],
        ["logs"],
        ["history"],
        ["history", "pytest"],
        ["flaky"],
        ["cache"],
        ["names"],
        ["setup"],
        ["gc"],
        ["test", "--list"],
        ["test", "--dry-run"],
        ["test", "--compact", "--groups", "tap,pytest,broken,tenant", "--log-dir", f"../{PLACE} 2"],
        ["cicd"],
        ["clean", "--keep", "99"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("plain")
def test_no_command_prints_anything_that_acts(project: Project, words: list[str]) -> None:
    said = project.call(*words)
    assert said.text + said.err
    assert hostile.objections(said.text + said.err) == []
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "words",
    [
        [f"--{WORD}"],
        [WORD],
        ["--environment", WORD, "list"],
        ["test", WORD],
        ["test", f"--{WORD}"],
        ["test", "--jobs", WORD],
        ["test", "--groups", WORD],
        ["test", "--t", WORD],
        ["test", "--changed", WORD],
        ["plan", "--format", WORD],
        ["logs", WORD],
        ["history", WORD],
        ["history", "--import", WORD],
        ["cache", WORD],
        ["enter", WORD],
        ["hold", WORD, "true"],
        ["merge", WORD],
        ["names", WORD],
        ["clean", "--keep", WORD],
    ],
    ids=lambda words: " ".join(words).replace(WORD, "WORD"),
)
@pytest.mark.usefixtures("plain")
def test_no_error_lets_an_argument_act(project: Project, words: list[str]) -> None:
    said = project.call(*words)
    assert said.code == 2
    assert "pwned" in said.err
    assert hostile.objections(said.text + said.err) == []


def test_a_wrong_plan_is_told_without_letting_it_act(tmp_path: Path) -> None:
    project = Project(tmp_path)
    wrong = [f"{hostile.toml(text)} = {hostile.toml(text)}" for text in dict.fromkeys(hostile.TEXTS)]
    project.fill("\n".join(["[run]", *wrong, "[[phases]]", *wrong]))
    said = project.call("list")
    assert (said.code, said.text) == (2, "")
    assert len(said.err.splitlines()) >= 2 * len(wrong)
    assert hostile.objections(said.err) == []


def test_the_log_and_the_reason_of_a_failing_service_act_on_nothing(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.fill(
        '[[services]]\nname = "noisy"\ncommand = "cat bytes; exit 3"\nready = { tcp = true }\n'
        '[[phases]]\nname = "p"\n[[phases.groups]]\nname = "g"\ncommand = "true"\n'
    )
    said = project.call("test")
    assert said.code == 3
    assert "touch pwned" in said.text
    assert hostile.objections(said.text + said.err) == []
    assert hostile.pwned(tmp_path) == []


@pytest.mark.usefixtures("plain")
def test_what_flips_is_named_and_can_be_pasted_into_the_plan(project: Project) -> None:
    assert project.call("test", "--parallel", env={"CODE": "1"}).code == 1
    ranked = project.call("flaky").text
    assert "touch pwned" in ranked
    assert hostile.objections(ranked) == []
    suggested = project.call("flaky", "--suggest").text
    assert hostile.objections(suggested) == []
    assert any('"' in name for name in hostile.NAMES[1::2])
    flipped = hostile.NAMES[1::2]  # those that passed before
    assert {entry["group"] for entry in tomllib.loads(suggested)["quarantine"]} == set(flipped)


@pytest.mark.usefixtures("plain")
def test_what_gc_finds_is_named_without_letting_it_act(project: Project) -> None:
    name = "\u061cx"
    assert project.call("test", "--keep-environment", "--groups", name).code == 1
    for words, said in (
        (["gc"], "kept    [isolation.tmpdir] of \\u061cx"),
        (["gc", "--kept"], "removed [isolation.tmpdir]"),
    ):
        swept = project.call(*words)
        assert said in swept.text
        assert hostile.objections(swept.text + swept.err) == []


# A terminal


@pytest.mark.parametrize("words", [["--parallel"], ["--parallel", "--verbose"]], ids=" ".join)
def test_a_terminal_gets_text_and_our_own_sequences_only(project: Project, words: list[str]) -> None:
    shown = project.on_a_terminal("test", *words)
    assert b"\x1b[" in shown
    assert b"touch pwned" in shown
    assert hostile.beyond_ours(shown) == []


@pytest.mark.parametrize(
    "words", [["logs", "tap"], ["logs", "-f", "$(touch pwned)"], ["status"], ["logs"]], ids=" ".join
)
@pytest.mark.usefixtures("plain")
def test_looking_at_a_run_on_a_terminal_lets_nothing_act(project: Project, words: list[str]) -> None:
    shown = project.on_a_terminal(*words)
    assert b"touch pwned" in shown
    assert hostile.beyond_ours(shown.replace(b"\t", b" ")) == []


@pytest.mark.usefixtures("plain")
def test_a_piped_log_is_what_the_group_wrote(project: Project) -> None:
    said = project.call("logs", "'; touch pwned; '")
    header, _, rest = said.out.partition(b"\n")
    assert header.startswith(b"=== '; touch pwned; ' ")
    assert rest == hostile.BYTES


# A CI server


def test_the_runner_obeys_nothing_but_our_own_commands(in_actions: tuple[Said, str]) -> None:
    ran, _ = in_actions
    assert hostile.acting(ran.text) == []
    commands = Counter(command for command, _ in hostile.obeyed(ran.text))
    assert set(commands) == {"group", "stop-commands", "endgroup", "error", "warning"}
    assert commands["group"] == commands["stop-commands"] == commands["endgroup"]
    assert commands["warning"] == 1  # the one in quarantine
    # One for each failed test and for each failed group without one: not one of them was forged.
    silent = len([name for number, name in enumerate(hostile.NAMES, 1) if number % 2]) - 1
    assert commands["error"] == 2 * len(hostile.TEXTS) + silent + len(["tenant", "broken"])
    for _, data in hostile.obeyed(ran.text):
        assert "\n" not in data.replace("%0A", "\n").replace("%0D", "\n")


def test_stages_are_folded_under_their_names(project: Project) -> None:
    said = project.call("cicd", env=GITHUB)
    commands = hostile.obeyed(said.text)
    assert [command for command, _ in commands] == ["group", "endgroup"] * len(hostile.NAMES)
    assert hostile.acting(said.text) == []
    titles = [data for command, data in commands if command == "group"]
    assert [title for title in titles if re.search("%(?!25)", title)] == []
    titles = [title.replace("%25", "%") for title in titles]
    assert [title for title in titles if title in SHOWN] == [name for name in hostile.NAMES if name in SHOWN]


def test_the_step_summary_is_text_in_our_own_markup(in_actions: tuple[Said, str]) -> None:
    _, summary = in_actions
    assert hostile.alive_in_markdown(summary) == []
    shown = "".join(hostile.read_markdown(summary).texts)
    for name in SHOWN:
        assert name in shown


# Programs


def test_json_gives_back_the_same_names(files: RunFiles) -> None:
    report = json.loads(files.report.read_bytes())
    assert json.loads(files.test_report.read_bytes())["suites"]
    suites = {suite["name"]: suite for suite in report["suites"]}
    assert set(NAMES) < set(suites)
    ids = [test["id"] for test in suites["pytest"]["test_results"]]
    assert {f"{TEST_FILE}::test_it[{name}]" for name in hostile.NAMES} <= set(ids)
    spans = {event["name"] for event in json.loads(files.trace.read_bytes())["traceEvents"]}
    assert set(NAMES) - {"broken", "tenant"} < spans


@pytest.mark.parametrize(
    "words", [["list"], ["plan"], ["history"], ["flaky"], ["cache"], ["names"], ["history", "pytest"]], ids=" ".join
)
@pytest.mark.usefixtures("plain")
def test_json_that_is_printed_gives_back_the_same_names(project: Project, words: list[str]) -> None:
    said = project.call(*words, "--format", "json")
    assert hostile.objections(said.text) == []
    read = json.loads(said.text)
    if words[0] in ("list", "plan", "cache"):
        names = {group.get("name", group.get("group")) for group in read["groups"]}
        assert set(NAMES) < names


def test_xml_gives_back_the_same_text_to_three_parsers(files: RunFiles) -> None:
    document = files.junit.read_bytes()
    expat.ParserCreate().Parse(document, True)
    suites = {suite.get("name"): suite for suite in ElementTree.fromstring(document)}
    assert {suite.name for suite in JUnitXml.fromstring(document)} == set(suites)
    assert set(NAMES) < set(suites)
    cases = {case.get("name"): case for case in suites["pytest"].iter("testcase")}
    for name in hostile.NAMES:
        failure = cases[f"test_it[{name}]"].find("failure")
        assert failure is not None
        assert failure.get("message") == f"Failed: {name}"
    texts = "".join("".join(element.itertext()) for element in suites["pytest"])
    assert "over\rwritten" in texts


def test_status_files_run_nothing_when_bash_sources_them(files: RunFiles, tmp_path: Path) -> None:
    paths = list(files.log_dir.glob(f".*_status_{files.run_id}"))
    assert len(paths) >= len(NAMES)
    for path in paths:
        assert all(re.match("[A-Z_]+=", line) for line in path.read_text(encoding="utf-8").splitlines())
    script = """
        set -eu
        for file; do (source "$file"; printf '%s\\0' "$GROUP" "$STATUS"; : "$REASON" "$LOG" "$EXIT_CODE"); done
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", *map(str, paths)],
        cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, timeout=DEADLINE, check=True,
    )  # fmt: skip
    assert done.stderr == b""
    words = done.stdout.decode().split("\0")
    assert set(SHOWN) < set(words[::2])
    assert set(words[1::2]) <= {"passed", "failed", "error", "skipped"}
    assert list(tmp_path.iterdir()) == []


def test_a_command_to_copy_does_only_that(plain: Said, tmp_path: Path) -> None:
    lines = plain.text.splitlines()
    command = lines[lines.index("Rerun what failed:") + 1]
    done = subprocess.run(
        ["bash", "--norc", "-c", f"harness() {{ printf '%s\\0' \"$@\"; }}\n{command}"],
        cwd=tmp_path, capture_output=True, timeout=DEADLINE, check=True,
    )  # fmt: skip
    verb, option, names, parallel, _ = done.stdout.decode().split("\0")
    assert (verb, option, parallel) == ("test", "--groups", "--parallel")
    failed = [name for number, name in enumerate(hostile.NAMES, 1) if number % 2 and number > 1]
    exact = [name for name in failed if not hostile.acting(name)]
    assert [name for name in names.split(",") if name in exact] == exact
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["mermaid", "dot"])
def test_labels_of_graphs_do_not_end_early(project: Project, form: str) -> None:
    wrong = [line for line in project.call("plan", "--format", form).text.splitlines() if not GRAPHS[form].match(line)]
    assert wrong == []


# Files


def test_every_name_has_files_of_its_own_in_the_log_directory(project: Project, files: RunFiles) -> None:
    logs = [files.group_log(name) for name in hostile.NAMES]
    assert all(log.is_file() and log.parent == files.log_dir for log in logs)
    # As on a file system that folds case, or normalizes.
    alike = {unicodedata.normalize("NFKC", log.name).casefold() for log in logs}
    assert len(alike) == len(logs)
    outside = {path.name for path in project.directory.iterdir()} - {
        "logs",
        ".harness",
        "__pycache__",
        ".pytest_cache",
        ".git",
    }
    ours = {"harness.toml", "bytes", "long", "tap", "lines", "texts.json", "conftest.py", "pytest.ini", ".gitignore"}
    assert outside == {*ours, TEST_FILE}
