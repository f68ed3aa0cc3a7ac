"""Flakiness, by literal histories: a run is its commit and how its groups and tests ended."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pasts import Past

from harness.model import Status, TestStatus
from harness.past import PastGroup
from harness.statistics.beta import beta_quantile
from harness.statistics.flaky import HALF_LIFE, Verdict

# What is evidence


def test_what_never_failed_is_not_spoken_of() -> None:
    report = Past().run("c1", a="P").test("a", "t", "P").run("c2", a="P").report
    assert report.items == ()
    assert (report.runs, report.commits, report.loose, report.groups, report.tests) == (2, 2, 0, 1, 1)


def test_a_pass_after_a_failure_in_one_run_is_a_flip() -> None:
    item = Past().run("c1", a="~").of("a")
    assert (item.verdict, item.flips, item.commits) == (Verdict.FLAKY, 1, 1)


def test_a_pass_and_a_failure_on_one_commit_are_a_flip() -> None:
    item = Past().run("c1", a="P").run("c1", a="F").of("a")
    assert (item.verdict, item.flips, item.commits) == (Verdict.FLAKY, 1, 1)


def test_however_often_it_flips_on_a_commit_it_is_one_flip() -> None:
    past = Past()
    for _ in range(5):
        past.run("c1", a="~").run("c1", a="F").run("c1", a="P")
    item = past.run("c2", a="P").of("a")
    assert (item.flips, item.commits) == (1, 2)


def test_a_pass_and_a_failure_on_two_commits_are_none() -> None:
    item = Past().run("c1", a="P").run("c2", a="F").of("a")
    assert (item.verdict, item.flips, item.commits, item.failing) == (Verdict.FAILING, 0, 1, 1)


@pytest.mark.parametrize(("commit", "dirty"), [("", False), ("c1", True)])
def test_runs_of_unknown_code_are_each_a_commit_of_their_own(commit: str, dirty: bool) -> None:
    past = Past().run(commit, dirty=dirty, a="F").run(commit, dirty=dirty, a="P").run("c1", a="P")
    item = past.of("a")
    assert (item.flips, item.commits, item.failing) == (0, 2, 1)
    assert (past.report.commits, past.report.loose) == (3, 2)


@pytest.mark.parametrize(
    "status", [Status.INTERRUPTED, Status.LOST, Status.ERROR, Status.NO_TESTS, Status.SKIPPED, Status.CACHED]
)
def test_what_is_no_verdict_is_no_evidence(status: Status) -> None:
    past = Past().run("c1", a="P").group("a", status).run("c2").group("a", status)
    assert past.report.items == ()
    past.run("c3", a="F").run("c3").group("a", status)
    assert (past.of("a").flips, past.of("a").commits, past.of("a").failing) == (0, 1, 1)


@pytest.mark.parametrize("status", [Status.FAILED, Status.TIMED_OUT, Status.KILLED])
def test_every_failure_is_evidence(status: Status) -> None:
    assert Past().run("c1", a="P").group("a", status).of("a").flips == 1


def test_quarantined_ones_are_evidence_like_any_other() -> None:
    past = Past().run("c1", a="P").run("c1", a="F")
    past.groups = [
        PastGroup(**{f: getattr(g, f) for f in g.__struct_fields__} | {"quarantined": True}) for g in past.groups
    ]
    assert past.of("a").flips == 1


def test_part_of_a_group_is_evidence_for_its_tests_and_not_for_it() -> None:
    past = Past().run("c1", a="P").test("a", "t", "P").run("c1").group("a", Status.FAILED, partial=True)
    past.test("a", "t", "F")
    assert past.of("a", "t").flips == 1
    assert [item.item for item in past.report.items] == [("a", "t")]


def test_a_pass_of_a_part_does_not_make_a_flip_of_the_group() -> None:
    past = Past().run("c1", a="F").run("c1").group("a", Status.PASSED, partial=True)
    assert past.of("a").flips == 0


@pytest.mark.parametrize("status", [TestStatus.XFAILED, TestStatus.XPASSED])
def test_expected_failures_are_passes(status: TestStatus) -> None:
    past = Past().run("c1", a="~").test("a", "t", "F").verdict("a", "t", 2, status)
    assert past.of("a", "t").flips == 1


def test_skipped_tests_are_no_evidence_and_errors_of_fixtures_are_failures() -> None:
    past = Past().run("c1").verdict("a", "t", 1, TestStatus.SKIPPED).run("c2").verdict("a", "t", 1, TestStatus.ERROR)
    assert (past.of("a", "t").commits, past.of("a", "t").failing) == (0, 1)


def test_two_tests_of_one_name_do_not_flip() -> None:
    past = Past().run("c1", a="F").test("a", "t", "F").test("a", "t", "P")
    assert past.of("a", "t").flips == 0
    past.run("c1", a="P").test("a", "t", "P").test("a", "t", "P")
    assert past.of("a", "t").flips == 1


def test_a_test_without_a_name_is_not_its_group() -> None:
    past = Past().run("c1", a="P").test("a", "", "F")
    assert past.report.items == ()


def test_what_a_dying_service_broke_is_no_evidence() -> None:
    past = Past().run("c1", a="P").test("a", "t", "P").run("c1").group("a", Status.ERROR).test("a", "t", "F")
    assert past.report.items == ()


def test_rows_of_a_run_that_was_recorded_in_between_are_left_for_the_next_time() -> None:
    past = Past().run("c1", a="~").test("a", "t", "FP")
    past.runs.clear()
    assert (past.report.items, past.report.groups, past.report.tests) == ((), 0, 0)


def test_the_same_test_in_two_groups_is_two() -> None:
    past = Past().run("c1", a="F", b="P").test("a", "t", "F").test("b", "t", "P")
    assert [item.flips for item in past.report.items] == [0, 0]


# The rate


def test_rate_and_interval_are_those_of_the_posterior() -> None:
    past = Past()
    for commit in range(12):
        past.run(f"c{commit}", a="~" if commit < 3 else "P", at=1e9)
    item = past.of("a")
    assert (item.flips, item.commits, item.known) == (3, 12, True)
    assert item.weight == 12
    assert item.rate == pytest.approx(3.5 / 13)
    assert (item.low, item.high) == pytest.approx((beta_quantile(0.05, 3.5, 9.5), beta_quantile(0.95, 3.5, 9.5)))


def test_evidence_counts_half_after_a_fortnight() -> None:
    item = Past().run("old", at=0, a="~").run("new", at=14 * 24 * 3600.0, a="P").of("a")
    assert item.weight == 1.5
    assert item.rate == pytest.approx((0.5 + 0.5) / (1 + 1.5))
    assert (item.flips, item.commits) == (1, 2)


def test_a_commit_is_as_old_as_its_newest_run_of_the_item() -> None:
    past = Past().run("c1", at=0, a="~").run("c1", at=HALF_LIFE, a="P").run("c1", at=2 * HALF_LIFE, b="P")
    assert past.of("a").weight == 0.5


def test_a_clock_that_stood_at_1970_breaks_nothing() -> None:
    past = Past().run("c1", at=0, a="~").run("c2", at=4e9, b="P")
    assert past.of("a").weight == pytest.approx(0)
    assert past.of("a").cost_per_run == pytest.approx(5)


def test_little_evidence_is_called_so() -> None:
    two = Past().run("c1", a="~").run("c2", a="~")
    assert (two.of("a").verdict, two.of("a").known) == (Verdict.FLAKY, False)
    three = two.run("c3", a="~")
    assert three.of("a").known
    wide = Past().run("c1", a="~").run("c2", a="~").run("c3", a="P")
    assert wide.of("a").high - wide.of("a").low > 0.5
    assert not wide.of("a").known
    assert [item.item for item in wide.report.not_yet_known] == [("a", "")]
    assert three.report.not_yet_known == ()


@pytest.mark.parametrize("statuses", ["P~", "~~", "~"])
def test_fewer_than_three_commits_never_suffice(statuses: str) -> None:
    past = Past()
    for commit, status in enumerate(statuses):
        past.run(f"c{commit}", at=1e9, a=status)
    assert not past.of("a").known


def test_about_so_many_commits_halve_the_interval() -> None:
    past = Past()
    for commit in range(8):
        past.run(f"c{commit}", a="~" if commit % 2 else "P", at=1e9)
    before = past.of("a")
    for commit in range(before.commits_to_halve):
        past.run(f"d{commit}", a="~" if commit % 2 else "P", at=1e9)
    after = past.of("a")
    assert (after.high - after.low) / (before.high - before.low) == pytest.approx(0.5, abs=0.02)


# Verdicts


def test_broken_and_mended_is_steady_once_there_is_enough_evidence() -> None:
    past = Past().run("c1", a="F").run("c2", a="P").run("c3", a="P")
    assert past.of("a").verdict is Verdict.UNKNOWN
    assert past.report.not_yet_known == past.report.items
    past.run("c4", a="P")
    assert past.of("a").verdict is Verdict.STEADY
    assert past.report.not_yet_known == ()


def test_what_flipped_and_now_only_fails_is_flaky_and_fails_now() -> None:
    past = Past().run("c1", a="~").run("c2", a="F")
    assert past.of("a").verdict is Verdict.FLAKY
    assert past.of("a").fails_now
    assert not past.run("c2", a="P").of("a").fails_now


def test_the_last_flip_is_the_last_failure_on_such_a_commit() -> None:
    past = Past().run("c1", at=100, a="~").run("c1", at=300, a="P").run("c2", at=400, a="F")
    assert past.of("a").last_flip == 100
    assert Past().run("c1", a="F").of("a").last_flip is None


def test_errors_are_counted() -> None:
    past = Past().run("c1").group("a", Status.FLAKY, error="e1").test("a", "t", "FFP", "e2")
    past.run("c2").group("a", Status.FAILED, error="e1").run("c2", a="P")
    assert past.of("a").errors == {"e1": 2}
    assert past.of("a", "t").errors == {"e2": 2}


# Cost


def test_a_flaky_group_costs_what_it_took_longer_than_usual() -> None:
    past = Past().run("c1", a="P").run("c2").group("a", Status.PASSED, 12.0).run("c3").group("a", Status.PASSED, 90.0)
    past.run("c4").group("a", Status.FLAKY, 17.0)
    assert past.of("a").cost == 5.0
    assert past.of("a").cost_per_run == pytest.approx(5.0 / 4, rel=1e-4)


def test_shorter_than_usual_costs_nothing() -> None:
    assert Past().run("c1", a="P").run("c2").group("a", Status.FLAKY, 4.0).of("a").cost == 0


def test_without_a_usual_time_attempts_are_equally_long() -> None:
    past = Past().run("c1").group("a", Status.FLAKY, 30.0, attempts=3)
    assert past.of("a").cost == pytest.approx(20)


def test_part_of_a_group_is_not_compared_with_the_whole() -> None:
    past = Past().run("c1").group("a", Status.PASSED, 100.0)
    past.run("c2").group("a", Status.FLAKY, 4.0, partial=True).test("a", "t", "FP")
    assert past.of("a", "t").cost == 2.0


def test_parts_of_a_group_say_nothing_of_its_cost() -> None:
    past = Past().run("c1", a="P").run("c1").group("a", Status.PASSED, 1.0, partial=True)
    past.run("c1").group("a", Status.FAILED, 3.0, partial=True).run("c1").group("a", Status.FLAKY, 17.0)
    assert past.of("a").cost == 7.0


def test_a_failure_costs_all_of_its_time_if_the_same_code_passes() -> None:
    past = Past().run("c1", a="P").run("c1").group("a", Status.FAILED, 7.0).run("c2").group("a", Status.FAILED, 9.0)
    assert past.of("a").cost == 7.0
    assert Past().run("c1", a="F").of("a").cost == 0


def test_tests_share_the_attempt_that_failed_through_them() -> None:
    past = Past().run("c1", a="~").test("a", "t1", "FP").test("a", "t2", "FP")
    assert (past.of("a", "t1").cost, past.of("a", "t2").cost) == (2.5, 2.5)


def test_each_attempt_is_charged_to_the_tests_that_failed_in_it() -> None:
    past = Past().run("c1").group("a", Status.FAILED, 20.0, attempts=2).test("a", "t1", "FP").test("a", "t2", "PF")
    assert (past.of("a", "t1").cost, past.of("a", "t2").cost) == (10, 10)
    assert past.of("a").cost == 0  # on this commit the group was never seen to pass


def test_an_attempt_that_would_have_failed_anyway_costs_nothing() -> None:
    past = Past().run("c1").group("a", Status.FAILED, 20.0, attempts=2).test("a", "t", "FP").test("a", "broken", "FF")
    assert past.of("a", "t").flips == 1
    assert past.of("a", "t").cost == 0


def test_a_failed_test_of_a_group_that_passed_costs_nothing() -> None:
    past = Past().run("c1", a="P").test("a", "t", "F").run("c1", a="P").test("a", "t", "P")
    assert (past.of("a", "t").flips, past.of("a", "t").cost) == (1, 0)


def test_what_costs_most_comes_first() -> None:
    past = (
        Past().run("c1").group("cheap", Status.FLAKY, 2.0).group("dear", Status.FLAKY, 60.0).group("b", Status.FAILED)
    )
    assert [item.group for item in past.report.items] == ["dear", "cheap", "b"]


def test_old_costs_fade() -> None:
    past = Past().run("c1", at=0).group("a", Status.FLAKY, 20.0).run("c2", at=HALF_LIFE).group("a", Status.PASSED, 10.0)
    assert past.of("a").cost_per_run == pytest.approx(0.5 * 10 / 1.5)


# Groups and their tests


def test_a_group_is_explained_by_tests_that_flip_with_it() -> None:
    past = Past().run("c1", a="~").test("a", "t", "FP").run("c2", a="~").test("a", "u", "FP")
    assert past.of("a").explained
    assert not past.of("a", "t").explained
    assert not past.run("c3", a="~").test("a", "t", "P").of("a").explained
    assert not Past().run("c1", a="F").test("a", "t", "F").of("a").explained


def test_clusters_are_of_what_failed() -> None:
    past = Past().run("c1", a="~", b="F", c="P").run("c2", a="F", b="~", c="P").run("c3", a="P", b="P", c="F")
    (cluster,) = past.report.clusters
    assert (cluster.members, cluster.commits) == ((("a", ""), ("b", "")), 2)


def test_what_never_passed_is_in_no_cluster() -> None:
    past = Past().run("c1", a="~", broken="F").run("c2", a="~", broken="F")
    assert past.report.clusters == ()
    assert past.run("c3", a="P", broken="P").report.clusters != ()


# Any history

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["", "c1", "c2", "c3"]),
        st.booleans(),
        st.sampled_from("PF~"),
        st.sampled_from(["", "P", "F", "FP", "PF", "FF"]),
    ),
    min_size=1,
    max_size=12,
)


def a_past(steps: list[tuple[str, bool, str, str]]) -> Past:
    past = Past()
    for commit, dirty, group, test in steps:
        past.run(commit, dirty=dirty, a=group).test("a", "t", test)
    return past


@given(STEPS)
def test_the_figures_agree(steps: list[tuple[str, bool, str, str]]) -> None:
    report = a_past(steps).report
    for item in report.items:
        assert 0 <= item.low < item.rate < item.high <= 1
        assert 0 <= item.flips <= item.commits
        assert item.commits + item.failing <= report.commits
        assert item.flips or item.failing
        assert (item.verdict is Verdict.FLAKY) == (item.flips > 0) == (item.last_flip is not None)
        assert item.weight <= item.commits
        assert 0 <= item.cost_per_run <= item.cost + 1e-9
        assert item.flips or item.cost == 0


@given(STEPS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_says_nothing(steps: list[tuple[str, bool, str, str]], chance: random.Random) -> None:
    past = a_past(steps)
    before = past.report
    for rows in (past.runs, past.groups, past.tests):
        chance.shuffle(rows)
    assert past.report == before


@given(STEPS, st.integers(2, 4))
def test_the_same_again_on_the_same_commit_is_no_more_evidence(
    steps: list[tuple[str, bool, str, str]], times: int
) -> None:
    clean = [(commit or "c0", False, group, test) for commit, _, group, test in steps]
    once, again = a_past(clean).report, a_past(clean * times).report
    assert {i.item: (i.flips, i.commits, i.failing) for i in once.items} == {
        i.item: (i.flips, i.commits, i.failing) for i in again.items
    }
