"""The benchmarks of the scheduler: the suites are as they say, and the models of other tools do what those do."""

import importlib

import pytest

from benchmarks import peers
from benchmarks.__main__ import BENCHMARKS
from benchmarks.makespan import SCHEDULERS, over_bound
from benchmarks.suites import DEEPEST, PHASE, Suite, large, small
from harness.model import Dependency, Group, Phase


def made(*durations: float, jobs: int = 2, tests: tuple[int, ...] = (), **fields: tuple[Dependency, ...]) -> Suite:
    """Groups a, b, c, … that take so long; `fields` are what they depend on."""
    named = dict(zip("abcdefgh", durations, strict=False))
    groups = tuple(Group(name=name, phase=PHASE, command="true", depends_on=fields.get(name, ())) for name in named)
    counts = dict(zip(named, tests or [1] * len(named), strict=True))
    return Suite((Phase(name=PHASE, groups=groups),), jobs, {}, named, named, frozenset(), counts)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_something_to_measure(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").measure)


def test_a_suite_is_that_of_its_seed() -> None:
    assert small(1) == small(1) != small(2)


def test_suites_are_as_they_say() -> None:
    for suite in (*(small(seed) for seed in range(50)), large(2_000, 10)):
        assert 20 <= len(suite.names) <= 100 or len(suite.names) == 2_000
        assert len(suite.untimed) == len(suite.names) // 4
        assert suite.believed_partly.keys() == set(suite.names) - suite.untimed
        depths: dict[str, int] = {}
        for group in suite.groups:  # in plan order: what it depends on stands above it
            depths[group.name] = 1 + max((depths[need.group] for need in group.depends_on), default=0)
            assert all(
                int(need) <= suite.resources[name] for name, need in group.needs.items() if name in suite.resources
            )
        assert max(depths.values()) <= DEEPEST
        assert 0.03 < sum(depth > 1 for depth in depths.values()) / len(depths) <= 0.21


@pytest.mark.parametrize("name", SCHEDULERS)
def test_no_scheduler_is_faster_than_the_bound(name: str) -> None:
    for suite in (small(seed) for seed in range(10)):
        for believed in (suite.estimates, suite.believed_partly):
            assert over_bound(suite, SCHEDULERS[name](suite, believed)) >= 1 - 1e-9


def test_the_harness_is_nearer_to_the_bound_than_the_goal() -> None:
    suites = [small(seed) for seed in range(40)]
    ours = SCHEDULERS["harness"]
    known = [over_bound(suite, ours(suite, suite.estimates)) for suite in suites]
    partly = [over_bound(suite, ours(suite, suite.believed_partly)) for suite in suites]
    assert sum(known) / len(known) <= 1.02
    assert sum(partly) / len(partly) <= 1.06


def test_chunks_are_cut_once_they_have_their_share() -> None:
    suite = made(3, 3, 3, 3, 8)  # a share is 10: the first chunk is full after 12
    assert peers.chunks(suite, suite.estimates) == 12
    assert peers.chunks(suite, {"a": 5.0}) == 11  # all count as 5, and three of them are more than half


def test_least_duration_fills_the_emptiest() -> None:
    suite = made(1, 2, 3, 4, 6)
    assert peers.least_duration(suite, suite.estimates) == 8  # 6 + 2, and 4 + 3 + 1


def test_a_chunk_waits_for_what_its_next_group_depends_on() -> None:
    suite = made(4, 1, 3, c=(Dependency(group="a"),))
    assert peers.chunks(suite, suite.estimates) == 7  # b and c are one chunk: c waits from 1 to 4
    with pytest.raises(RuntimeError, match="wait for one another"):
        peers.chunks(made(1, 1, a=(Dependency(group="b"),), b=(Dependency(group="a"),)), {})


def test_loadfile_starts_with_the_file_of_most_tests() -> None:
    assert peers.loadfile(made(9, 1, 1, tests=(3, 5, 4))) == 10  # the long one is the last, of so few tests


def test_loadfile_hands_a_file_to_a_worker_that_has_two_tests_left() -> None:
    suite = made(9, 5, 1, tests=(3, 9, 2))
    assert peers.loadfile(suite) == 10  # a has two left at 3, b not before 4: so c waits behind a, though b ends at 5


def test_loadfile_hands_out_two_files_of_one_test_at_the_start() -> None:
    assert peers.loadfile(made(1, 9, 4, 9)) == 18  # d waits behind b
