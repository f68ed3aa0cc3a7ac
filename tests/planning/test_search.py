from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.model import Group, Phase, Plan
from harness.planning.search import find_tests

DEPOSITS = """
import pytest
"test_in_a_string"

def helper(): ...

def test_simple(): ...

async def test_async(): ...

class Base:
    def test_inherited(self): ...

class TestRefund(Base):
    @pytest.mark.parametrize("amount", ["a-b"])
    def test_partial(self, amount): ...
    class TestInner:
        def test_deep(self): ...
"""

WITHDRAWALS = """
def test_simple(): ...

def test_refund_of_nothing(): ...

class TestOther:
    def test_partial(self): ...
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    tests = {
        "test_deposits.py": DEPOSITS,
        "test_withdrawals.py": WITHDRAWALS,
        "sub/test_deposits.py": "def test_other_deposit(): ...\n",
        "test_broken.py": "def test_broken(:\n",
        "test_classes.py": "class TestA:\n  def test_one(self): ...\nclass TestB:\n  def test_two(self): ...\n",
    }
    for name, source in tests.items():
        (tmp_path / "it" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "it" / name).write_text(source)

    def group(name: str, *files: str) -> Group:
        return Group(name=name, phase="p", tests=files, command=None if files else "true")

    groups = (
        group("money", "test_deposits.py", "test_withdrawals.py"),
        group("more", "sub/test_deposits.py", "test_broken.py", "test_missing.py"),
        group("half", "test_classes.py::TestA"),
        group("other_half", "test_classes.py::TestB"),
        group("migrations"),
    )
    return Plan(project=str(tmp_path), test_root="it", phases=(Phase(name="p", groups=groups),))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        # a group
        ("money", {"money": ("test_deposits.py", "test_withdrawals.py")}),
        ("migrations", {"migrations": ()}),
        # a file
        ("test_withdrawals", {"money": ("test_withdrawals.py",)}),
        ("test_withdrawals.py", {"money": ("test_withdrawals.py",)}),
        ("it/test_withdrawals.py", {"money": ("test_withdrawals.py",)}),
        ("./it/test_withdrawals.py", {"money": ("test_withdrawals.py",)}),
        ("sub/test_deposits", {"more": ("sub/test_deposits.py",)}),
        ("test_deposits.py", {"money": ("test_deposits.py",), "more": ("sub/test_deposits.py",)}),
        ("test_classes.py", {"half": ("test_classes.py::TestA",), "other_half": ("test_classes.py::TestB",)}),
        # an id
        ("test_withdrawals.py::test_simple", {"money": ("test_withdrawals.py::test_simple",)}),
        (
            "it/test_deposits.py::TestRefund::test_partial[a-b]",
            {"money": ("test_deposits.py::TestRefund::test_partial[a-b]",)},
        ),
        ("test_deposits.py::TestRefund::TestInner", {"money": ("test_deposits.py::TestRefund::TestInner",)}),
        ("test_deposits.py::TestRefund::test_inherited", {"money": ("test_deposits.py::TestRefund::test_inherited",)}),
        ("test_classes.py::TestB::test_two", {"other_half": ("test_classes.py::TestB::test_two",)}),
        # part of one
        ("TestRefund", {"money": ("test_deposits.py::TestRefund",)}),
        ("TestRefund::test_partial", {"money": ("test_deposits.py::TestRefund::test_partial",)}),
        ("test_async", {"money": ("test_deposits.py::test_async",)}),
        ("test_simple", {"money": ("test_deposits.py::test_simple", "test_withdrawals.py::test_simple")}),
        ("test_deep", {"money": ("test_deposits.py::TestRefund::TestInner::test_deep",)}),
        (
            "test_partial[a::b/c]",
            {
                "money": (
                    "test_deposits.py::TestRefund::test_partial[a::b/c]",
                    "test_withdrawals.py::TestOther::test_partial[a::b/c]",
                )
            },
        ),
        ("migr", {"migrations": ()}),
        ("withdraw", {"money": ("test_withdrawals.py",)}),
        ("REFUND", {"money": ("test_deposits.py::TestRefund", "test_withdrawals.py::test_refund_of_nothing")}),
        ("test_broken.py", {"more": ("test_broken.py",)}),
    ],
)
def test_a_name_means_the_nearest_thing_of_that_name(plan: Plan, name: str, found: dict[str, tuple[str, ...]]) -> None:
    assert find_tests(plan, name) == found


def test_an_absolute_path_is_a_file(plan: Plan) -> None:
    assert find_tests(plan, f"{plan.project}/it/sub/test_deposits.py") == {"more": ("sub/test_deposits.py",)}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("test_depsits", '"test_deposits"'),
        ("test_asinc", '"test_async"'),
        ("mony", '"money"'),
        ("test_withdrawals.py::test_smple", "--list"),
        ("test_in_a_string", "did you mean"),
        ("test_classes.py::TestA::test_two", "--list"),
        ("test_asyn[1]", '"test_async"'),
        ("REFUND[1]", ""),  # a part of a name has no arguments
        ("zzzzzz", "--list"),
        ("test_withdrawals.py::", ""),
        (" ", "name a group"),
        ("[", ""),
        ("\0", ""),
    ],
)
def test_what_is_not_there_is_refused_with_what_is_like_it(plan: Plan, name: str, hint: str) -> None:
    with pytest.raises(UsageError, match="--t: ") as caught:
        find_tests(plan, name)
    assert hint in caught.value.cure
