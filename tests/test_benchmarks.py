"""The benchmarks: suites are as they say, models of other tools do what those do, and figures are what was measured."""

import importlib
import itertools
import re
import sys
from datetime import date
from pathlib import Path

import msgspec
import pytest

from benchmarks import balance, measure, peers, projects, report
from benchmarks.__main__ import BENCHMARKS, KEPT
from benchmarks.makespan import SCHEDULERS, over_bound
from benchmarks.measure import Comparison, Result, Side
from benchmarks.suites import DEEPEST, PHASE, Suite, large, small
from harness.model import Dependency, Group, Phase
from harness.planning.load import load_plan


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


def told(*walls: float, **sides: list[dict[str, float]]) -> Result:
    """What was measured of a side `ours` that took so long, and of others."""
    comparisons = (
        Comparison("ours / theirs", "ours", "wall", "theirs", at_most=0.5),
        Comparison("speed of ours / of theirs", "theirs", "wall", "ours", at_least=2.0),
        Comparison("memory", "ours", "memory", at_most=80e6),
        Comparison("ours / absent", "ours", "wall", "absent", at_most=1.0),
    )
    ours = [{"wall": wall, "cpu": 1.0, "memory": 81e6, "others": 1.0} for wall in walls]
    measured = {"ours": ours, "theirs": [{"wall": 10.0}, {"wall": 5.0}], "absent": [], **sides}
    return Result(
        "told", "Some", ("wall", "cpu"), measured, comparisons, {"harness": "1"}, {"cores": "2"}, "2026-01-31"
    )


def test_ratios_are_taken_round_by_round_as_far_as_both_sides_have_them() -> None:
    measured = told(2.0, 4.0, 100.0)
    assert measure.ratios(measured, measured.comparisons[0]) == [0.2, 0.8]
    assert measure.ratios(measured, measured.comparisons[2]) == [81e6] * 3


def test_a_comparison_tells_whether_its_median_reaches_the_goal() -> None:
    assert measure.compared(told(2.0, 4.0)) == [
        ["ours / theirs", "0.50 ×", "0.20 × to 0.80 ×", "at most 0.5 ×", "yes"],
        ["speed of ours / of theirs", "3.12 ×", "1.25 × to 5.00 ×", "at least 2 ×", "yes"],
        ["memory", "81 MB", "81 MB to 81 MB", "at most 80 MB", "no"],
        ["ours / absent", "not installed", "", "at most 1 ×", ""],
    ]


def test_what_a_benchmark_prints() -> None:
    assert measure.render(told(0.05, 4.0)) == (
        "Some; medians, least to most\n\n"
        "        wall                              cpu                              rounds\n"
        "------  -------------  -----------------  -------------  ----------------  --------\n"
        "ours    2.02 s         0.050 s to 4.00 s  1.00 s         1.00 s to 1.00 s  2\n"
        "theirs  7.50 s         5.00 s to 10.00 s                                   2\n"
        "absent  not installed                     not installed                    0\n\n"
        "                           median                             goal           met\n"
        "-------------------------  -------------  ------------------  -------------  -----\n"
        "ours / theirs              0.40 ×         0.005 × to 0.80 ×   at most 0.5 ×  yes\n"
        "speed of ours / of theirs  100.62 ×       1.25 × to 200.00 ×  at least 2 ×   yes\n"
        "memory                     81 MB          81 MB to 81 MB      at most 80 MB  no\n"
        "ours / absent              not installed                      at most 1 ×\n\n"
        "2026-01-31, cores 2, 0.5 of them taken by others\nharness 1\n"
    )


def test_a_result_is_read_as_it_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    measured = told(0.123456, 4.0)
    measure.save(measured)
    assert measure.load("told") == measured


def test_a_run_is_measured_with_its_children(tmp_path: Path) -> None:
    spin = "import time\nwhile time.process_time() < 0.2: pass"
    started = f"import subprocess, sys; held = b'x' * 50_000_000; subprocess.run([sys.executable, '-c', {spin!r}])"
    figures = measure.run(Side("s", [sys.executable, "-c", started], tmp_path, 1, measure.said("^.", 0), groups=10))
    assert figures["wall"] >= figures["cpu"] / 2 >= 0.1
    assert figures["cpu a group"] == figures["cpu"] / 10
    assert 50e6 < figures["memory"] < 90e6


def test_a_run_is_measured_with_what_it_leaves_behind(tmp_path: Path) -> None:
    spin = "import time\nwhile time.process_time() < 0.2: pass"
    orphan = f"read, write = os.pipe(); subprocess.Popen([sys.executable, '-c', {spin!r}], stdout=write)"
    until_it_ends = "os.close(write); os.read(read, 1); time.sleep(0.1)"
    started = f"import os, subprocess, sys, time; {orphan}; {until_it_ends}"
    figures = measure.run(Side("s", [sys.executable, "-c", started], tmp_path, 1, measure.said("^.", 0)))
    assert figures["cpu"] >= 0.2


def test_what_did_something_else_gives_no_figure(tmp_path: Path) -> None:
    for command, proof in (["false"], measure.said("", 1)), (["echo", "2 passed"], measure.said("3 passed")):
        with pytest.raises(RuntimeError, match="did not do what it should"):
            measure.run(Side("s", command, tmp_path, 1, proof))


def test_sides_run_in_turn_each_round_begun_by_another(tmp_path: Path) -> None:
    log = tmp_path / "log"
    sides = [
        Side(name, ["bash", "-c", f"echo {name} >> log"], tmp_path, rounds, measure.said("^.", 0), warm=name != "c")
        for name, rounds in (("a", 3), ("b", 3), ("c", 1))
    ]
    measured = measure.in_turn([*sides, Side("absent", None, tmp_path, 3, measure.said("."))])
    assert log.read_text().split() == ["a", "b", *"abc", *"ba", *"ab"]
    assert {name: len(rounds) for name, rounds in measured.items()} == {"a": 3, "b": 3, "c": 1, "absent": 0}


def test_each_order_has_all_lengths() -> None:
    seconds = balance.lengths()
    assert sum(seconds) == pytest.approx(balance.TOTAL)
    assert len(set(seconds)) == balance.GROUPS
    first, second = itertools.islice(balance.orders(seconds), 2)
    assert first != second
    assert sorted(first) == sorted(second) == sorted(seconds)


def test_written_files_of_tests_are_a_plan(tmp_path: Path) -> None:
    projects.write_tests(tmp_path, projects.sleeps(3, 2, 0.01, 0.05), python=sys.executable, imports="import json\n")
    plan = load_plan(tmp_path, date(2026, 1, 31))
    assert [group.tests for group in plan.groups] == [("test_000.py",), ("test_001.py",), ("test_002.py",)]
    text = (tmp_path / "test_001.py").read_text()
    assert text.startswith("import time\nimport json\n\n\ndef test_0():\n    time.sleep(0.0")
    assert text.count("def test_") == 2


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_of_a_benchmark_is_whole(name: str) -> None:
    measured = measure.load(name)
    assert measured.name == name
    assert measured.comparisons
    for comparison in measured.comparisons:
        assert {comparison.side, comparison.beside or comparison.side} <= measured.sides.keys()
    assert len(measure.compared(measured)) == len(measured.comparisons)


def test_the_page_shows_what_is_kept() -> None:
    page = report.PAGE.read_text()
    assert page == report.written_into(page, report.render([measure.load(name) for name in KEPT]))
    named = re.findall(r"^\| `(\w+)` \| [^|]* \| [^|]* \|$", page, re.MULTILINE)
    assert named == list(KEPT)


def test_the_table_tells_when_and_on_what_each_was_measured() -> None:
    later = msgspec.structs.replace(told(2.0), name="later", date="2026-02-01", versions={"harness": "2", "make": "4"})
    *_, first, second, versions = report.render([told(2.0), later]).splitlines()
    assert first == "- 2026-01-31, cores 2, of which others took meanwhile: `told` 0.5"
    assert second == "- 2026-02-01, cores 2, of which others took meanwhile: `later` 0.5"
    assert versions == "- harness 1 and 2, make 4"


def test_what_others_took_is_told_where_it_is_known() -> None:
    measured = told(2.0, 8.0)
    assert measure.cores_of_others(measured) == "0.2"  # two seconds of ten
    assert measure.cores_of_others(msgspec.structs.replace(measured, sides={"ours": [{"wall": 2.0}]})) == "unknown"
