"""Cases 18 and 36: what tests print and what things are called is data, wherever it comes to stand."""

import html
import json
from xml.etree import ElementTree

from faults.stage import Stage

BYTES = bytes(range(256)) * 3 + b"\x1b[2J\x1b]0;owned\x07\x1b[31mred\x1bc\n" + bytes(reversed(range(256)))
HOSTILE = "<script>alert(1)</script>]]>$(touch pwned)`touch pwned`%0A::error::owned\u202e::error::owned"


def test_case_18_every_byte_stands_in_the_log_and_none_acts_elsewhere(stage: Stage) -> None:
    (stage.directory / "bytes").write_bytes(BYTES)
    stage.groups("cat bytes; exit 1")
    ran = stage.run("test", "--parallel")
    assert ran.statuses == {"g0": "failed"}
    header, _, rest = ran.files.group_log("g0").read_bytes().partition(b"\n")
    assert header.startswith(b"=== g0")
    assert rest == BYTES
    stage.judge()


def test_case_18_a_terminal_is_told_nothing_by_a_test(stage: Stage) -> None:
    (stage.directory / "bytes").write_bytes(BYTES)
    stage.groups("cat bytes; exit 1")
    for words in (["--parallel"], ["--verbose"]):
        terminal = stage.on_terminal("test", *words)
        assert terminal.finish() == 1
        assert b"red" in terminal.shown, "the end of the log is shown"
        for acts in (b"\x1b[2J", b"\x1b]0;", b"\x1bc", b"\x07", b"\x9b", b"\x00"):
            assert acts not in terminal.shown, acts
    stage.judge()


def test_case_18_what_a_pytest_says_parses_everywhere(stage: Stage) -> None:
    stage.write(
        "test_it.py",
        f"""
        import pytest
        ALL = bytes(range(256)).decode("latin-1") + chr(0xd800) + {HOSTILE!r}

        @pytest.mark.parametrize("text", [ALL, {HOSTILE!r}])
        def test_it(text):
            print(ALL.encode("utf-8", "replace"))
            raise AssertionError(ALL)
        """,
    )
    stage.plan('[[phases]]\nname = "p"\n[[phases.groups]]\nname = "g"\ntests = "test_it.py"\n')
    ran = stage.run("test", env={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(stage.directory / "summary.md")})
    assert ran.statuses == {"g": "failed"}
    assert ran.report["suites"][0]["tests"]["failed"] == 2
    stage.judge()


def commands(output: str) -> list[str]:
    """The workflow commands that GitHub would carry out; lines between stop-commands and its token are none."""
    heard, token = [], ""
    for line in output.splitlines():
        words = line.lstrip().split("::")
        if token:
            token = "" if line.strip() == f"::{token}::" else token
        elif words[0] == "" and len(words) > 2:
            heard.append(words[1].split()[0])
            token = words[2] if heard[-1] == "stop-commands" else ""
    return heard


def test_case_36_hostile_names_and_lines_are_inert_everywhere(stage: Stage) -> None:
    names = [HOSTILE, "%0A::error::x", "]]><failure/>", "'; touch pwned; '"]
    groups = "".join(
        f"[[phases.groups]]\nname = {json.dumps(name)}\ndescription = {json.dumps(HOSTILE)}\n"
        'command = ["sh", "-c", "cat lines; exit 1"]\n'
        for name in names
    )
    stage.plan(f"[[phases]]\nname = {json.dumps(HOSTILE)}\n{groups}")
    stage.write("lines", f"{HOSTILE}\n::error file=x::owned\n::set-output name=a::b\n::add-mask::o\n\x1b]0;owned\x07\n")
    summary = stage.directory / "summary.md"
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    ran = stage.run("test", "--parallel", env=env)
    assert set(ran.statuses.values()) == {"failed"}
    assert set(ran.statuses) == set(names)
    assert not (stage.directory / "pwned").exists()
    heard = commands(ran.stdout)
    assert [word for word in heard if word not in ("group", "endgroup", "stop-commands")] == ["error"] * len(names)
    tree = ElementTree.parse(ran.files.junit)
    assert [suite.get("name", "")[:8] for suite in tree.iter("testsuite")] == [name[:8] for name in names]
    for page in [summary, *ran.files.run_dir.glob("*.html")]:
        assert "<script>alert" not in page.read_text(), page
        assert html.unescape(page.read_text()).count("alert(1)")
    stage.judge()


def test_case_36_a_command_that_is_offered_for_a_rerun_is_safe_to_paste(stage: Stage) -> None:
    stage.plan(
        f"[[phases]]\nname = 'p'\n[[phases.groups]]\nname = {json.dumps(HOSTILE)}\ncommand = 'exit 1'\n"
        "[[phases.groups]]\nname = 'other'\ncommand = 'true'\n"
    )
    ran = stage.run("test", "--parallel")
    (line,) = [line for line in ran.stdout.splitlines() if "test --groups" in line]
    words = line.split("--groups", 1)[1]
    assert "'" in words, f"quoted for a shell: {words}"
    assert ran.code == 1
    stage.judge()
