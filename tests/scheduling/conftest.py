"""The builders of tests/groups.py as fixtures."""

from collections.abc import Callable

import pytest
from groups import make_group, make_outcome, make_phase

from harness.model import Group, Outcome, Phase
from harness.scheduling.messages import AttemptEnded


@pytest.fixture(scope="session")
def group() -> Callable[..., Group]:
    return make_group


@pytest.fixture(scope="session")
def phase() -> Callable[..., Phase]:
    return make_phase


@pytest.fixture(scope="session")
def outcome() -> Callable[..., Outcome]:
    return make_outcome


@pytest.fixture(scope="session")
def ends() -> Callable[..., AttemptEnded]:
    return lambda *args, **kwargs: AttemptEnded(make_outcome(*args, **kwargs))
