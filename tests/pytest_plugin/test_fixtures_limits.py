"""The fixture `rate_limit`: with the harness and without."""

from pathlib import Path

import pytest
from plugin_suites import PluginSuite

from harness.pytest_plugin.harness_fixtures.budgets import Budget, write_spec

PLAN = """
    [resources]
    settings = 1
    payments_api = { concurrent = 1, rate = "600/m" }
    """


@pytest.fixture
def budgets(plugged: PluginSuite) -> Path:
    directory = plugged.directory / "budgets"
    directory.mkdir()
    write_spec(directory, "payments_api", 1, None, 1.0)
    plugged.env["HARNESS_BUDGETS"] = str(directory)
    return directory


@pytest.mark.usefixtures("budgets")
def test_a_request_is_held_until_the_end_of_the_with(plugged: PluginSuite) -> None:
    plugged.write(
        test_it="""
        import pytest

        def test_it(rate_limit):
            with rate_limit("payments_api"):
                with pytest.raises(TimeoutError), rate_limit("payments_api", timeout=0.01):
                    pass
            with rate_limit("payments_api", timeout=0.01):
                pass
        """
    )
    ran = plugged.run()
    assert ran.outcomes == {"passed": 1}, ran.output


def test_it_is_shared_by_processes(plugged: PluginSuite, budgets: Path) -> None:
    plugged.write(
        test_it="""
        import pytest
        def test_it(rate_limit):
            with pytest.raises(TimeoutError), rate_limit("payments_api", timeout=0.05):
                pass
        """
    )
    with Budget.open(budgets, "payments_api").hold():
        assert plugged.run(workers=2).outcomes == {"passed": 1}


@pytest.mark.usefixtures("budgets")
def test_a_name_that_nobody_declared(plugged: PluginSuite) -> None:
    plugged.write(test_it="def test_it(rate_limit):\n    with rate_limit('payment'): pass")
    ran = plugged.run()
    assert ran.outcomes == {"failed": 1}
    assert 'Failed: there is no budget "payment"' in ran.output
    assert "payments_api" in ran.output
    assert "declare it in harness.toml, as [resources] payment = { concurrent = 20" in ran.output
    assert "During handling" not in ran.output


def test_without_the_harness_the_nearest_plan_says_what_there_is(plugged: PluginSuite) -> None:
    (plugged.directory / "harness.toml").write_text(PLAN)
    tests = plugged.directory / "tests" / "unit"
    tests.mkdir(parents=True)
    (tests / "test_it.py").write_text(
        "def test_it(rate_limit):\n    with rate_limit('payments_api', timeout=30): pass\n"
    )
    ran = plugged.run(f"--rootdir={tests}", str(tests))
    assert ran.outcomes == {"passed": 1}, ran.output
    budget = Budget.open(plugged.directory / ".harness" / "budgets", "payments_api")
    assert (budget.concurrent, budget.requests, budget.window) == (1, 600, 60.0)


@pytest.mark.parametrize(
    ("resources", "problem"),
    [
        ('b = { rate = "1000/d" }', "[resources] b: rate = '1000/d' is no rate; write 25/s, 600/m or 1000/h"),
        ('b = { rate = "0/s" }', "[resources] b: rate = '0/s' is no rate"),
        ("b = { rate = 25 }", "[resources] b: rate = 25 is no rate"),
        ('b = { concurrent = "2" }', "[resources] b: concurrent = '2' is no whole number from 1"),
        ("b = { concurrent = 0 }", "[resources] b: concurrent = 0 is no whole number from 1"),
        ("b = { concurent = 1 }", "[resources] b: it has `concurrent`, `rate` or both, and nothing else"),
        ("b = {}", "[resources] b: it has `concurrent`, `rate` or both, and nothing else"),
        ("b = ", "Invalid value (at line 2, column 5)"),
        ("[[resources]]", None),
    ],
)
def test_a_plan_that_the_harness_would_refuse(plugged: PluginSuite, resources: str, problem: "str | None") -> None:
    plan = plugged.directory / "harness.toml"
    plan.write_text(f"[resources]\n{resources}\n" if problem else f"{resources}\n")
    plugged.write(test_it="def test_it(rate_limit):\n    with rate_limit('b'): pass")
    ran = plugged.run()
    assert ran.outcomes == {"error": 1}, ran.output
    assert f"{plan}: {problem or '[resources] is no table'}" in ran.output
    assert "Traceback" not in ran.output
    assert "limits.py" not in ran.output


def test_without_a_plan_it_skips(plugged: PluginSuite) -> None:
    plugged.write(test_it="def test_it(rate_limit): pass")
    ran = plugged.run("-rs")
    assert ran.outcomes == {"skipped": 1}
    assert "rate_limit takes from the budgets of a harness.toml" in ran.output
