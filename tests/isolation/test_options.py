"""What is put into an entry's options, and what an entry lacks."""

import pytest

from harness.errors import InfrastructureError
from harness.isolation.options import (
    origin_of,
    problem_of,
    resolved,
    secret_variables_of,
    services_of,
    variables_of,
)
from harness.model import Isolation

SERVICES = {"web": {"url": "http://127.0.0.1:80", "port": "80"}}


def entry(**options: object) -> Isolation:
    return Isolation(name="org", kind="tenant", options=options)


def test_services_and_variables_are_put_in() -> None:
    made = entry(base_url="{web.url}/v1", dsn="${ADMIN}?x={web.port}", create={"body": {"a": ["{web.port}", 3]}})
    found = resolved(made, {"ADMIN": "postgresql://u:{web.port}${HOME}@h"}, SERVICES)
    assert found == {
        "base_url": "http://127.0.0.1:80/v1",
        "dsn": "postgresql://u:{web.port}${HOME}@h?x=80",  # a value is nobody's template
        "create": {"body": {"a": ["80", 3]}},
    }


def test_in_a_command_a_variable_is_the_shells() -> None:
    assert resolved(entry(setup="echo ${HOME}"), {}, {}) == {"setup": "echo ${HOME}"}
    assert variables_of(entry(setup="echo ${HOME}", url="${A}${B}")) == {"A", "B"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dsn": "${ADMIN}"}, "[isolation.org] needs the variable ADMIN, which is not set"),
        ({"key_variable": "ADMIN"}, "[isolation.org] needs the variable ADMIN, which is not set"),
        (
            {"base_url": "{api.url}"},
            "[isolation.org] is made on the service api, which this environment does not start",
        ),
    ],
)
def test_what_an_entry_lacks_is_said(options: dict[str, object], message: str) -> None:
    found = problem_of(entry(**options), {"ADMIN": ""}, SERVICES)
    assert found is not None
    assert found[0] == message
    with pytest.raises(InfrastructureError):
        resolved(entry(**options), {}, SERVICES)


def test_an_entry_that_lacks_nothing() -> None:
    made = entry(base_url="{web.url}", key_variable="KEY", headers={"X": "${KEY} {key}"})
    assert problem_of(made, {"KEY": "k"}, SERVICES) is None
    assert services_of(made, {}) == ("web",)
    assert services_of(entry(url="${ADMIN}"), {"ADMIN": "redis://127.0.0.1:{cache.port}"}) == ("cache",)


def test_an_address_is_known_again_without_being_told() -> None:
    made = entry(dsn="postgresql://u:${PASSWORD}@{web.host}/db")
    origin = origin_of(made, {"PASSWORD": "a", "OTHER": "x"})
    assert origin == origin_of(made, {"PASSWORD": "a"})
    assert origin != origin_of(made, {"PASSWORD": "b"})
    assert origin != origin_of(entry(dsn="postgresql://u@h/db"), {})


def test_which_variables_hold_its_secrets() -> None:
    headers = {"X-Api-Key": "${API} {key}", "Accept": "${ACCEPT}", "X-Plain": "plain"}
    options = {"key_variable": "KEY", "base_url": "${BASE}", "headers": headers}
    entry = Isolation(name="e", kind="tenant", options=options)
    assert secret_variables_of(entry) == {"KEY", "API"}
    assert secret_variables_of(Isolation(name="e", kind="tmpdir")) == frozenset()
