from dataclasses import fields
from typing import Any

import msgspec
import pytest

from harness.config.options import OPTIONS, Settings, Shard, apply, resolve
from harness.errors import UsageError
from harness.model import Group, Phase, Plan, Variable

PLAN = Plan(
    project="/p",
    phases=(
        Phase(name="p", groups=(Group(name="a", phase="p", command="x", timeout=5.0, retries=3),)),
        Phase(name="s", when="RUN_STRESS_TESTS", groups=(Group(name="b", phase="s", command="x"),)),
    ),
    variables=(Variable(name="MASS_WITHDRAWAL_COUNT", type="count", default="5"), Variable(name="WORDS")),
)


def settings(variables: dict[str, str] | None = None, plan: Plan = PLAN, **command_line: Any) -> Settings:
    return resolve(command_line, variables or {}, plan)


def problems(variables: dict[str, str] | None = None, **command_line: Any) -> list[str]:
    with pytest.raises(UsageError) as caught:
        settings(variables, **command_line)
    return caught.value.message.splitlines()


def test_every_option_is_a_setting_and_nothing_else_is() -> None:
    assert [field.name for field in fields(Settings)] == [*sorted_names(), "origins"]


def sorted_names() -> list[str]:
    order = {field.name: index for index, field in enumerate(fields(Settings))}
    return sorted((option.name for option in OPTIONS), key=lambda name: order[name])


def test_no_flag_stands_twice_and_every_option_has_help() -> None:
    flags = [flag for option in OPTIONS for flag in option.flags]
    assert len(flags) == len(set(flags))
    assert all(option.help.endswith(".") and option.section for option in OPTIONS)
    assert all(bool(option.metavar) == bool(option.parse) for option in OPTIONS)


def test_a_plan_field_is_a_field_of_the_plan() -> None:
    named = {field.name: field.default for field in msgspec.structs.fields(Plan)}
    for option in OPTIONS:
        if option.plan_field:
            assert option.default == named[option.plan_field]


def test_defaults() -> None:
    found = settings()
    assert (found.jobs, found.parallel, found.groups, found.log_dir, found.stop_after) == (4, False, (), "logs", 0)
    assert (found.timeout, found.retries, found.global_timeout) == (None, None, None)
    assert {found.origin(option.name) for option in OPTIONS} == {"default"}


def test_the_command_line_is_over_the_variable_over_the_plan() -> None:
    plan = msgspec.structs.replace(PLAN, max_parallel_jobs=6, written=("max_parallel_jobs",))
    variables = {"MAX_PARALLEL_JOBS": "7"}
    for found, jobs, origin in [
        (settings(variables, plan, jobs="8"), 8, "--jobs"),
        (settings(variables, plan), 7, "MAX_PARALLEL_JOBS"),
        (settings({"MAX_PARALLEL_JOBS": ""}, plan), 6, "harness.toml"),
        (settings({}, plan), 6, "harness.toml"),
    ]:
        assert (found.jobs, found.origin("jobs")) == (jobs, origin)


def test_texts_become_values() -> None:
    found = settings(
        groups=("a, b,,a", "c,a"), tests=("x", "y,z"), markers="not slow", retries="0", timeout="2m",
        global_timeout="1h", max_failures="3", log_dir="/tmp/x", parallel=True, verbose=True, compact=False, list=True,
    )  # fmt: skip
    assert found.groups == ("a", "b", "c")
    assert (found.tests, found.markers) == (("x", "y,z"), "not slow")
    assert (found.retries, found.timeout, found.global_timeout, found.stop_after) == (0, 120.0, 3600.0, 3)
    assert (found.parallel, found.verbose, found.compact, found.list) == (True, True, False, True)
    assert (found.origin("groups"), found.origin("compact")) == ("--groups", "default")


def test_of_an_option_given_twice_the_last_wins() -> None:
    assert settings(jobs=("2", "3")).jobs == 3


def test_fail_fast_stops_after_one() -> None:
    assert settings(fail_fast=True).stop_after == 1
    assert settings(fail_fast=True, max_failures="1").stop_after == 1
    assert problems(fail_fast=True, max_failures="2") == [
        "--fail-fast: stops at the first failure, and --max-failures later; leave one out"
    ]


def test_everything_wrong_is_said_at_once() -> None:
    assert problems(
        {"MAX_PARALLEL_JOBS": "abc", "RUN_STRESS_TESTS": "maybe", "MASS_WITHDRAWAL_COUNT": "0", "WORDS": "abc"},
        timeout="soon",
        groups=" , ",
        markers="",
        retries="-1",
    ) == [
        '--groups: " , " names nothing; write names with commas between them',
        '--markers: "" is empty; leave the option out, or give it a value',
        'MAX_PARALLEL_JOBS: "abc" is not a whole number from 1 to 1024',
        '--retries: "-1" is not a whole number from 0 to 100',
        '--timeout: "soon" is not a duration; write 90s, 5m or 1h30m',
        'RUN_STRESS_TESTS: "maybe" is neither true nor false (1/0, yes/no and on/off are the same)',
        'MASS_WITHDRAWAL_COUNT: "0" is not a whole number from 1 to 1024',
    ]


def test_compact_and_verbose_exclude_each_other() -> None:
    assert problems(compact=True, verbose=True) == ["--compact: shows less, and --verbose more; leave one out"]


def test_a_bad_variable_that_the_command_line_overrides_does_not_matter() -> None:
    assert settings({"MAX_PARALLEL_JOBS": "abc"}, jobs="2").jobs == 2


def test_options_for_all_groups_are_put_into_the_plan() -> None:
    changed = apply(PLAN, settings(timeout="9s", retries="0"))
    assert [(group.timeout, group.retries) for group in changed.groups] == [(9.0, 0), (9.0, 0)]
    assert apply(PLAN, settings()) is PLAN
    assert apply(PLAN, settings(timeout="9s")).groups[0].retries == 3


@pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), ("2/4", (2, 4)), ("1024/1024", (1024, 1024))])
def test_a_shard(text: str, shard: tuple[int, int]) -> None:
    assert settings(shard=text).shard == Shard(*shard)
    assert str(settings(shard=text).shard) == text


@pytest.mark.parametrize("text", ["", "2", "/", "2/", "/4", "0/4", "5/4", "a/4", "1/1025", "1/2/3", "-1/4", "٢/٤"])
def test_what_is_no_shard(text: str) -> None:
    assert problems(shard=[text])[0].startswith("--shard: ")


def test_seeds() -> None:
    assert settings(shuffle="7").shuffle == 7
    assert settings().shuffle is None
    assert problems(shuffle=str(2**31))
    assert problems(shuffle="a")
