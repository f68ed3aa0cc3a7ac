"""Secrets in whole runs: a canary in every place from which something is said, and nothing of it anywhere after it."""

import base64
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import Harness, Ran

from harness.masking.forms import forms_of

CANARY = "c4n4ry/ÖL+'of\"all&<the>mines"
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----"
PASSWORD = "Pa55%2Fword"
LEASED = "leased-s3cret-7"

PLAN = f"""
    [run]
    secrets = ["CANARY*", "PEM_*", "PIN", "UNSET"]

    [[services]]
    name = "api"
    env = {{ CANARY_OWN = "canary-at-home" }}
    command = '''
        echo "serves $CANARY"; echo "$CANARY_OWN"; printf "%s" "$CANARY" | base64 -w0; echo
        echo up; exec sleep 1000'''
    ready = {{ log = "^up$" }}

    [isolation.command]
    setup = "echo ORG_KEY={LEASED} > $HARNESS_ENV"
    teardown = 'echo "broken $CANARY" >&2; exit 1'
    secrets = ["ORG_KEY"]

    [[pipeline]]
    name = "lint"
    command = 'echo "lint: $CANARY"'

    [[pipeline]]
    name = "suite"
    suite = true

    [[phases]]
    name = "p"

    [[phases.groups]]
    name = "shell"
    command = '''
        echo "$CANARY"; echo "$PEM_KEY"; echo "log: $(echo "$PEM_KEY" | head -3 | tail -1)"; echo "$PIN"
        echo "$ORG_KEY"
        head -c 9 <<< "$CANARY" | tr -d '\\n'; sleep 0.1; tail -c +10 <<< "$CANARY"
        echo "at $DATABASE_URL $CANARY_AT"
        printf 'user:%s' "$CANARY" | base64 -w0
        exit 3'''
    isolate = ["command"]
    env = {{ CANARY_AT = "canary-at-{{api.port}}", PLANNED_URL = "http://me:Pl4nned-pass@{{api.host}}:{{api.port}}/" }}

    [[phases.groups]]
    name = "argument"
    command = ["bash", "-c", "echo planned http://me:Pl4nned-pass@localhost/; exit 1", "Pl4nned-pass"]

    [[phases.groups]]
    name = "pytest"
    tests = ["test_it.py"]

    [[phases.groups]]
    name = "junit"
    command = "python3 write.py; exit 1"
    results = "junit:out.xml"

    [[phases.groups]]
    name = "tap"
    command = 'echo 1..1; echo "not ok 1 - with $CANARY"'
    results = "tap"
"""
TESTS = """
    import os, pytest

    @pytest.mark.parametrize("value", [os.environ["CANARY"], "other"])
    def test_it(value):
        print("printed", os.environ["CANARY"].encode())
        assert os.environ["CANARY"] == {"key": os.environ["PEM_KEY"]}, os.environ["CANARY"]
"""
WRITE = """
    import html, os
    said = html.escape(os.environ["CANARY"], quote=True)
    case = f'<testcase name="{said}"><failure message="{"m" * 1990} {said}">{"x" * 100} {said}</failure></testcase>'
    open("out.xml", "w").write(f'<testsuite>{case}</testsuite>')
"""
ENV = {"CANARY": CANARY, "PEM_KEY": KEY, "PIN": "123", "DATABASE_URL": f"postgres://me:{PASSWORD}@localhost/db"}


@pytest.fixture
def project(harness: Harness) -> Harness:
    harness.plan(PLAN)
    harness.write("test_it.py", TESTS)
    harness.write("write.py", WRITE)
    return harness


def forms() -> dict[bytes, str]:
    secret = (CANARY, KEY, PASSWORD, "Pa55/word", "Pl4nned-pass", LEASED)
    return {form: value for value in secret for form in forms_of(value)} | {
        b"c4n4": CANARY,
        b"MIIEvQIB": KEY,
        b"canary-at-": CANARY,
    }


def said(ran: Ran, *directories: Path) -> Iterator[tuple[str, bytes]]:
    yield "stdout", ran.stdout.encode()
    yield "stderr", ran.stderr.encode()
    for directory in directories:
        yield from ((str(path), path.read_bytes()) for path in directory.rglob("*") if path.is_file())


def assert_silent(ran: Ran, *directories: Path) -> None:
    places = list(said(ran, *directories))
    assert [(name, form) for name, data in places for form in forms() if form in data] == []


def test_no_form_of_any_secret_is_anywhere(project: Harness) -> None:
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(project.directory / "logs" / "summary.md")}
    (project.directory / "logs").mkdir()
    ran = project.run("test", "--parallel", "--verbose", env=ENV | github)
    assert ran.code == 1, ran.stderr
    assert_silent(ran, project.directory / "logs", project.directory / ".harness")
    # And everything was said, but for them.
    log = ran.log("shell").splitlines()
    head, rest = log[0], log[1:]
    assert head.startswith("=== shell · attempt 1 · ")
    assert rest[:6] == ["***", "***", "log: ***", "123", "***", "***"]
    assert rest[6] == "at postgres://me:***@localhost/db ***"
    assert rest[7].startswith(base64.b64encode(b"user:")[:6].decode())
    assert "***" in rest[7]
    assert ran.log("argument").splitlines()[1] == "planned http://me:***@localhost/"
    for needed in (ran.stdout, ran.files.junit.read_text(), ran.files.report.read_text(), ran.files.events.read_text()):
        assert "test_it[***]" in needed
        assert "with ***" in needed
    assert "serves ***\n***\n***\nup\n" in ran.files.service_log("api").read_text()
    assert "broken ***" in ran.files.events.read_text()
    assert "broken ***" in ran.stdout
    assert "with &#42;&#42;&#42;" in (project.directory / "logs" / "summary.md").read_text()
    assert [line for line in ran.stdout.splitlines() if line.startswith("::error") and "***" in line]
    warnings = [it for it in ran.report["warnings"] if "PIN" in json.dumps(it)]
    assert len(warnings) == 1, ran.report["warnings"]
    assert "fewer than 4 characters" in json.dumps(warnings)


def test_what_failed_is_found_again_though_its_parameter_is_masked(project: Harness) -> None:
    project.run("test", "--groups", "pytest", env=ENV)
    ran = project.run("test", "--last-failed", "--groups", "pytest", env=ENV)
    assert ran.statuses == {"pytest": "failed"}
    assert [test["id"] for test in ran.report["suites"][0]["test_results"]] == [
        "test_it.py::test_it[***]",
        "test_it.py::test_it[other]",
    ]
    history = project.run("history", "pytest", env=ENV)
    assert "test_it" in history.stdout, history.stderr
    assert_silent(history)


def test_what_the_door_says(project: Harness) -> None:
    project.plan(PLAN.replace("canary-at-{api.port}", "x"))  # which stands in the plan with its braces
    dry = project.run("test", "--dry-run", env=ENV)
    assert dry.code == 0
    assert "echo planned http://me:***@localhost/" in dry.stdout
    assert_silent(dry)
    wrong = project.run("test", env=ENV | {"MAX_PARALLEL_JOBS": "c4n4ry-jobs", "PEM_JOBS": "c4n4ry-jobs"})
    assert wrong.code == 2
    assert 'MAX_PARALLEL_JOBS: "***" is not' in wrong.stderr
    cicd = project.run("cicd", "--groups", "argument", env=ENV)
    assert "lint: ***\n" in cicd.stdout
    assert_silent(cicd)


def test_a_service_that_does_not_start(project: Harness) -> None:
    project.plan(PLAN.replace("exec sleep 1000", 'echo "cannot serve $CANARY"; exit 1').replace("^up$", "never"))
    ran = project.run("test", env=ENV)
    assert ran.code == 3
    assert_silent(ran, project.directory / "logs")
    assert "cannot serve ***" in ran.stdout
    entered = project.run("enter", "shell", "--", "true", env=ENV)
    assert entered.code == 3
    assert "cannot serve ***" in entered.stderr
    assert_silent(entered)


def test_guessed_secrets_and_env_files(harness: Harness) -> None:
    harness.plan("""
        [[phases]]
        name = "p"
        [[phases.groups]]
        name = "g"
        command = "echo $API_TOKEN $PGPASSWORD $LOG_LEVEL $HOME"
    """)
    harness.write(".env", "API_TOKEN=tok-from-dotenv-1\nPGPASSWORD=postgres\nLOG_LEVEL=very-verbose-1\n")
    ran = harness.run("test")
    assert ran.code == 0, ran.stderr
    assert ran.log("g").splitlines()[1] == f"*** postgres very-verbose-1 {os.environ['HOME']}"


def test_one_that_is_too_short_is_told_of(harness: Harness) -> None:
    harness.plan("""
        [run]
        secrets = ["PIN"]
        env = { PIN = "123" }
        [[phases]]
        name = "p"
        [[phases.groups]]
        name = "g"
        command = "echo 123"
    """)
    ran = harness.run("test")
    assert (ran.code, ran.log("g").splitlines()[1]) == (0, "123")
    assert "the value of PIN is not masked: it has fewer than 4 characters" in ran.stdout


def test_a_log_has_a_limit(harness: Harness) -> None:
    harness.plan(f"""
        [run]
        log_limit = "100KB"
        [[phases]]
        name = "p"
        [[phases.groups]]
        name = "g"
        command = "{sys.executable} -c 'for n in range(10**5): print(n)'; echo the end; exit 1"
        retries = 1
        retry_delay = 0
    """)
    ran = harness.run("test", "--verbose")
    assert ran.statuses == {"g": "failed"}
    assert len(ran.files.group_log("g").read_bytes()) <= 200_000
    assert ran.log("g").count("left out here: log_limit is 100 KB\n") == 2
    assert ran.log("g").endswith("99999\nthe end\n")
    assert ran.stdout.count("left out here: log_limit is 100 KB\n") == 2
