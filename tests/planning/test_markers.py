import pytest

from harness.errors import UsageError
from harness.planning.markers import matches_unmarked


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("serial", False),
        ("not serial", True),
        ("not (slow or serial)", True),
        ("slow or not serial", True),
        ("slow and not serial", False),
        ("not not serial", False),
        ("not slow and serial", False),
        ("not slow or serial and x", True),
        ('device(serial="a b") or not(x)', True),
        ("((serial))", False),
    ],
)
def test_what_an_unmarked_test_makes_of_it(expression: str, matches: bool) -> None:
    assert matches_unmarked(expression) is matches


@pytest.mark.parametrize(
    "expression", ["", "and", "serial and", "not", "(serial", "serial)", "a b", "a ! b", "()", "(" * 900, "x" * 2000]
)
def test_what_pytest_would_refuse_is_refused_before_the_start(expression: str) -> None:
    with pytest.raises(UsageError, match="--markers: "):
        matches_unmarked(expression)
