"""The bundled suite in environments of its own: what they are worth, and what its races find."""

import pytest
from projects import Harness, Ran

from benchmarks.organizations import Round, copy_suite, run_once

pytestmark = pytest.mark.slow

FILE = "test_offline_searchables"
RACE = f"{FILE}.py::test_of_many_who_book_a_slot_one_gets_it"
IN_TURN = f"{FILE}.py::test_a_booked_slot_is_free_no_more"

INDEX = "CREATE UNIQUE INDEX one_booking"
RESERVE = '    price = thing["price_cents"]\n    purchase = tx.maybe('
# What somebody writes who has not thought of two at a time. The pause is that of a busy server.
LOOKS_FIRST = """
    taken = "SELECT count(*) AS n, pg_sleep(0.2) FROM purchases WHERE slot_id = %s AND status IN ('pending', 'paid')"
    if slot_id is not None and tx.one(taken, [slot_id])["n"]:
        raise ApiError(409, "slot_taken", "this slot is booked")
"""


@pytest.fixture
def suite(harness: Harness) -> Harness:
    """A copy of the bundled suite and of its service."""
    copy_suite(harness.directory, shared=False)
    return harness


def change(suite: Harness, name: str, old: str, new: str) -> None:
    path = suite.directory / "integration-tests" / "searchable" / name
    text = path.read_text()
    assert text.count(old) == 1, f"{name} is no longer what this test changes"
    path.write_text(text.replace(old, new))


def results(ran: Ran) -> dict[str, str]:
    return {test["id"]: test["status"] for suite in ran.report["suites"] for test in suite["test_results"]}


def test_a_slot_is_booked_once(suite: Harness) -> None:
    ran = suite.run("test", "--t", FILE)
    assert ran.code == 0, ran.stdout
    assert results(ran)[RACE] == results(ran)[IN_TURN] == "passed"


def test_without_the_guard_the_race_fails(suite: Harness) -> None:
    change(suite, "schema.sql", INDEX, INDEX.replace("UNIQUE ", ""))
    ran = suite.run("test", "--t", RACE)
    assert ran.code == 1, ran.stdout
    assert results(ran) == {RACE: "failed"}
    assert "race: 1 of 8 should have succeeded, 8 did" in ran.stdout


def test_a_guard_that_looks_before_it_books_is_found_by_the_race_alone(suite: Harness) -> None:
    change(suite, "schema.sql", INDEX, INDEX.replace("UNIQUE ", ""))
    change(suite, "purchases.py", RESERVE, LOOKS_FIRST + RESERVE)
    ran = suite.run("test", "--t", FILE)
    assert ran.code == 1, ran.stdout
    assert {test for test, status in results(ran).items() if status != "passed"} == {RACE}
    assert results(ran)[IN_TURN] == "passed"


def test_with_one_organization_for_all_the_payment_account_is_called_too_often() -> None:
    ran = run_once(shared=True)
    assert ran.throttled > 0
    assert ran.failed_groups > 0
    assert ran.failed_tests > 0


def test_with_an_organization_for_each_group_it_is_not() -> None:
    ran = run_once(shared=False)
    assert ran == Round(
        groups=ran.groups, failed_groups=0, failed_tests=0, contaminating=0, throttled=0, seconds=ran.seconds
    )
    assert ran.groups > 5


def test_no_group_keeps_the_platforms_key_but_the_one_that_tests_the_platform(suite: Harness) -> None:
    ran = suite.run("test", "--t", "test_platform")
    assert set(results(ran).values()) == {"passed"}
    suite.write(
        "integration-tests/test_deposits.py",
        'import os\n\n\ndef test_it(): assert "SEARCHABLE_PLATFORM_KEY" not in os.environ\n',
    )
    ran = suite.run("test", "--t", "test_deposits")
    assert results(ran) == {"test_deposits.py::test_it": "passed"}, ran.stdout


def test_a_group_whose_organization_cannot_be_made_is_an_error(suite: Harness) -> None:
    create = '    key = new_secret("sk_live" if body.live else "sk_test")\n'
    refusal = '    if "financial" in body.slug:\n        raise ApiError(403, "enough", "there are enough of them")\n'
    change(suite, "organizations.py", create, refusal + create)
    ran = suite.run("test", "--t", "test_deposits")
    assert (ran.code, ran.statuses) == (3, {"financial": "error"}), ran.stdout
    assert "there are enough of them" in ran.report["suites"][0]["error_message"]
