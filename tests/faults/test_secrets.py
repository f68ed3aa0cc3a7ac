"""Case 35: a secret stands nowhere, in whatever form, and however it came there."""

import json
import sys

import pytest
from faults.stage import Stage

CANARY = 'c4n"ary/of+this=\\tést&<run>'
LINES = "-----BEGIN KEY-----\nc4nary0fTheFirstLine\nc4nary0fTheSecondLine\n-----END KEY-----"
PRINTS = """
import base64, json, os, sys, time, urllib.parse
secret = os.environ["API_KEY"]
raw = secret.encode()
out = sys.stdout.buffer
for form in (
    raw,
    base64.b64encode(raw),
    base64.b64encode(b"user:" + raw),
    base64.urlsafe_b64encode(b"u:" + raw),
    urllib.parse.quote(secret, safe="").encode(),
    urllib.parse.quote_plus(secret).encode(),
    json.dumps({"key": secret}).encode(),
    json.dumps({"key": secret}, ensure_ascii=False).encode(),
):
    out.write(b"before " + form + b" after\\n")
    out.flush()
for place in range(1, len(raw)):  # split over writes
    for part in (raw[:place], raw[place:]):
        os.write(1, part)
        time.sleep(0.002)
    os.write(1, b"\\n")
print(os.environ.get("LONG_KEY", ""))
raise SystemExit(1)
"""
PLAN = """
    [run]
    secrets = ["API_KEY", "LONG_KEY"]

    [[phases]]
    name = "p"
    [[phases.groups]]
    name = "prints"
    command = "{python} prints.py"
    [[phases.groups]]
    name = "argument"
    command = ["sh", "-c", "echo $0; exit 1", "{argument}"]
"""


def dotenv(stage: Stage, **values: str) -> None:
    stage.write(".env", "".join(f"{name}={json.dumps(value)}\n" for name, value in values.items()))


@pytest.mark.parametrize("words", [("--parallel",), ("--verbose",)], ids=["quiet", "verbose"])
def test_case_35_a_secret_in_every_form(stage: Stage, words: tuple[str, ...]) -> None:
    stage.write("prints.py", PRINTS)
    stage.plan(PLAN.format(python=sys.executable, argument="harmless"))
    ran = stage.run("test", *words, env={"API_KEY": CANARY, "LONG_KEY": LINES})
    assert ran.statuses == {"prints": "failed", "argument": "failed"}
    assert "before *** after" in ran.log("prints"), "what stood around it is still there"
    stage.judge(canaries=[CANARY, "c4nary0fTheFirstLine", "c4nary0fTheSecondLine"])


def test_case_35_a_secret_of_an_env_file_in_an_argument(stage: Stage) -> None:
    plain = "c4nary-in-an-argument"
    stage.write("prints.py", PRINTS)
    stage.write(".env", f"API_KEY={plain}\n")
    stage.plan(PLAN.format(python=sys.executable, argument=plain))
    ran = stage.run("test", "--parallel", env={"GITHUB_ACTIONS": "true"})
    assert ran.statuses == {"prints": "failed", "argument": "failed"}
    stage.run("test", "--dry-run")
    stage.judge(canaries=[plain], given=[stage.directory / ".env", stage.directory / "harness.toml"])


def test_case_35_a_secret_in_the_results_of_a_pytest(stage: Stage) -> None:
    stage.write(
        "test_it.py",
        """
        import os, pytest

        @pytest.mark.parametrize("key", [os.environ["API_KEY"]])
        def test_it(key):
            assert key == "another", f"the key {key} is refused"
        """,
    )
    stage.plan(
        '[run]\nsecrets = ["API_KEY"]\n[[phases]]\nname = "p"\n[[phases.groups]]\nname = "g"\ntests = "test_it.py"\n'
    )
    summary = stage.directory / "summary.md"
    env = {"API_KEY": "c4naryInAResult", "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    ran = stage.run("test", env=env)
    assert ran.statuses == {"g": "failed"}
    assert "is refused" in ran.files.report.read_text()
    stage.judge(canaries=["c4naryInAResult"], given=[stage.directory / ".pytest_cache"])


def test_case_35_a_secret_in_what_a_service_prints(stage: Stage) -> None:
    stage.plan(
        """
        [run]
        secrets = ["API_KEY"]
        [[services]]
        name = "web"
        command = "echo the key is $API_KEY; exit 1"
        [[phases]]
        name = "p"
        [[phases.groups]]
        name = "g"
        command = "true"
        """
    )
    stage.run("test", env={"API_KEY": "c4naryOfAService"})
    stage.judge(canaries=["c4naryOfAService"])


def test_case_35_one_that_is_too_short_is_refused_with_a_warning(stage: Stage) -> None:
    stage.groups("echo abc $API_KEY", run='secrets = ["API_KEY"]')
    ran = stage.run("test", env={"API_KEY": "abc"})
    assert ran.code == 0
    assert "abc abc" in ran.log("g0"), "masking it would hide half of the log"
    assert "API_KEY" in ran.stdout + ran.stderr
    stage.judge()
