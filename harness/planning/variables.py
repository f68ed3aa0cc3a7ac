"""Which variables a group is given, and which of several values wins.

The shell is over the plan's env files, these over the plan's `env` (group over environment over [run]), and the
defaults of [variables.NAME] come last. Only values of the plan are substituted: a brace in the shell's is the user's.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from harness.errors import UsageError
from harness.model import Environment, Group, Plan
from harness.planning.problems import did_you_mean
from harness.planning.substitute import references, substitute
from harness.values import quoted

Values = Mapping[str, Mapping[str, str]]


def environment_of(plan: Plan, name: str) -> Environment:
    """The environment that ENVIRONMENT on the command line names; UsageError where the plan has none such."""
    known = {environment.name: environment for environment in plan.environments}
    if name not in known:
        hint = did_you_mean(name, known)
        raise UsageError(f"there is no environment {quoted(name)}", f"{hint} The plan has: {', '.join(known)}".strip())
    return known[name]


def run_variables(plan: Plan, environment: str, shell: Mapping[str, str], dotenv: Mapping[str, str]) -> dict[str, str]:
    """The variables of the whole run, before any group: what options and `when` are read from."""
    return _layers(plan, environment_of(plan, environment), {}) | dict(dotenv) | dict(shell)


def group_variables(
    plan: Plan,
    environment: str,
    group: Group,
    shell: Mapping[str, str],
    dotenv: Mapping[str, str],
    values: Values = MappingProxyType({}),
) -> dict[str, str]:
    """The variables of one group, with {SERVICE.port} and the like put in from `values`.

    A value of the plan that speaks of a service which the group does not use is left out: there is nothing to put in.
    """
    own = _layers(plan, environment_of(plan, environment), group.env)
    usable = {
        name: substitute(text, {}, values)
        for name, text in own.items()
        if all(service in group.services for service in _services_in(text))
    }
    return usable | dict(dotenv) | dict(shell)


def _layers(plan: Plan, environment: Environment, group: Mapping[str, str]) -> dict[str, str]:
    defaults = {variable.name: variable.default for variable in plan.variables if variable.default is not None}
    return defaults | plan.env | environment.env | dict(group)


def _services_in(text: str) -> Iterable[str]:
    return (name for name, _ in references(text))
