"""A project of the test's own, and a platform with tenants."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from platforms import Platform, platform_running

from harness.isolation.lease import Context


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(project=tmp_path, project_id="0f0f", run_id="20260101_000000", variables={})


@pytest.fixture
def platform() -> Iterator[Platform]:
    """A platform with tenants, which misbehaves where the test asks for it."""
    with platform_running() as platform:
        yield platform
