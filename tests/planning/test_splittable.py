"""The key `splittable`: what it goes with, and what is refused."""

from collections.abc import Callable

import pytest

from harness.model import Plan

HEAD = """
[resources]
api = 5

[[phases]]
name = "p"

[[phases.groups]]
name = "s"
splittable = true
"""
FILES = {"test_a": "", "test_b": ""}


def test_a_splittable_group(load: Callable[..., Plan]) -> None:
    plan = load(HEAD + 'tests = "test_*.py"\nneeds = { api = 2, lock = "shared" }\nslots = 2\nisolate = []\n', **FILES)
    (group,) = plan.groups
    assert group.splittable
    assert group.files == ("test_a.py", "test_b.py")
    assert not load(HEAD.replace("splittable = true", "") + 'tests = "test_*.py"', **FILES).groups[0].splittable


TESTS = 'tests = "test_*.py"\n'
AT = "harness.toml:10: phases[0].groups[0].splittable: "
NEVER = f"{AT}its files would never run side by side: "


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('command = "true"', f"{AT}only a group with tests has files that could be split; leave it out"),
        (
            TESTS + "workers = 2",
            f"{AT}goes with no workers, which share out its files already; keep one of the two",
        ),
        (
            TESTS + 'parallel_group = "ledger"',
            f'{NEVER}all are of the parallel group "ledger"; leave one of the two out',
        ),
        (
            TESTS + 'needs = { lock = "exclusive" }',
            f'{NEVER}each needs "lock" for itself; share it, or leave this out',
        ),
        (TESTS + "needs = { api = 3 }", f'{NEVER}each needs 3 of 5 "api"; need less, or leave this out'),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_cure(refused: Callable[..., list[str]], keys: str, problem: str) -> None:
    assert refused(HEAD + keys, **FILES) == [problem]


def test_no_group_may_be_called_as_a_part_may_be(refused: Callable[..., list[str]], load: Callable[..., Plan]) -> None:
    other = '\n[[phases.groups]]\nname = "s/test_a.py"\ncommand = "true"\n'
    assert refused(HEAD + TESTS + other, **FILES) == [
        'harness.toml:14: phases[0].groups[1].name: may be that of a file of the splittable group "s"; drop the /'
    ]
    assert len(load(HEAD.replace("splittable = true", "") + TESTS + other, **FILES).groups) == 2
    assert len(load(HEAD + TESTS + other.replace("s/", "s-"), **FILES).groups) == 2
