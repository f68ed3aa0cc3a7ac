"""A project directory to write plans into."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from harness.errors import PlanError
from harness.model import Plan
from harness.planning.load import load_plan

Load = Callable[..., Plan]
Refused = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a plan's text, in a project with these files (path → content)."""

    def do(text: str | bytes, **files: str) -> Plan:
        for name, content in files.items():
            path = tmp_path / f"{name}.py"
            path.write_text(content)
        content_of_plan = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "harness.toml").write_bytes(content_of_plan)
        return load_plan(tmp_path, date(2026, 1, 31))

    return do


@pytest.fixture
def refused(load: Load) -> Refused:
    """The problems of a plan that must be wrong."""

    def do(text: str | bytes, **files: str) -> list[str]:
        with pytest.raises(PlanError) as caught:
            load(text, **files)
        return caught.value.problems

    return do
