import pytest

from harness.errors import UsageError
from harness.model import Environment, Group, Phase, Plan, Service, Variable
from harness.planning.variables import environment_of, group_variables, run_variables

GROUP = Group(name="a", phase="p", command="x", services=("web",), env={"LEVEL": "group", "URL": "{web.url}/x"})
PLAN = Plan(
    project="/p",
    phases=(Phase(name="p", groups=(GROUP,)),),
    env={"LEVEL": "run", "BASE": "run", "ONLY": "run", "DB": "{db.url}"},
    services=(Service(name="web", command="w"), Service(name="db", command="d")),
    environments=(Environment(name="local", env={"LEVEL": "environment", "BASE": "environment"}),),
    variables=(Variable(name="COUNT", default="5"), Variable(name="ONLY", default="declared"), Variable(name="UNSET")),
)
VALUES = {"web": {"url": "http://h"}}


def variables(shell: dict[str, str] | None = None, dotenv: dict[str, str] | None = None) -> dict[str, str]:
    return group_variables(PLAN, "local", GROUP, shell or {}, dotenv or {}, VALUES)


def test_the_nearest_of_the_plan_wins() -> None:
    found = variables()
    assert (found["LEVEL"], found["BASE"], found["ONLY"], found["COUNT"]) == ("group", "environment", "run", "5")
    assert "UNSET" not in found


def test_the_shell_is_over_the_env_files_and_these_over_the_plan() -> None:
    found = variables({"LEVEL": "shell", "COUNT": ""}, {"LEVEL": "file", "BASE": "file"})
    assert (found["LEVEL"], found["BASE"], found["COUNT"]) == ("shell", "file", "")


def test_only_values_of_the_plan_are_substituted() -> None:
    found = variables({"MINE": "{web.url}"}, {"FILE": "{web.url}"})
    assert (found["URL"], found["MINE"], found["FILE"]) == ("http://h/x", "{web.url}", "{web.url}")


def test_without_values_the_places_stay() -> None:
    assert group_variables(PLAN, "local", GROUP, {}, {})["URL"] == "{web.url}/x"


def test_what_speaks_of_a_service_that_the_group_does_not_use_is_left_out() -> None:
    assert "DB" not in variables()
    assert variables({"DB": "mine"})["DB"] == "mine"


def test_the_run_has_the_variables_of_no_group() -> None:
    found = run_variables(PLAN, "local", {"S": "1"}, {"F": "2", "S": "3"})
    assert (found["LEVEL"], found["S"], found["F"], found["COUNT"]) == ("environment", "1", "2", "5")


def test_an_unknown_environment_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match='no environment "locl"') as caught:
        environment_of(PLAN, "locl")
    assert caught.value.cure == 'did you mean "local"? The plan has: local'
