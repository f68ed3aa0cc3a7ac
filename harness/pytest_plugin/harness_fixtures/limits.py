"""The fixture `rate_limit`: takes requests from a budget of the plan, which all processes share.

The harness says where the budgets are. Without it, the nearest harness.toml from pytest's root directory upward
does, and its project's `.harness/budgets`: whoever runs without the harness still shares with whoever runs with it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .budgets import DIRECTORY, Budget, Hold, UnknownBudget, write_spec

_READS_PLANS = sys.version_info >= (3, 11)  # which has tomllib
_CURE = 'declare it in harness.toml, as [resources] {name} = {{ concurrent = 20, rate = "25/s" }}'
_RUN_IT = "; and run the harness once, because this Python cannot read harness.toml (3.11 can)"
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@pytest.fixture(scope="session")
def rate_limit(request: pytest.FixtureRequest) -> Callable[..., Hold]:
    """`with rate_limit("payments_api"):` takes one request from a budget of the plan, shared by all processes.

    It waits until the budget allows it; `timeout=5.0` bounds that. `async with` works as well.
    """
    directory = _directory(request.config)

    def hold(name: str, timeout: float | None = None) -> Hold:
        __tracebackhide__ = True
        try:
            return Budget.open(directory, name).hold(timeout)
        except UnknownBudget as error:
            problem = str(error)
        pytest.fail(f"{problem}: {_CURE.format(name=name)}{'' if _READS_PLANS else _RUN_IT}")

    return hold


def _directory(config: pytest.Config) -> Path:
    if os.environ.get("HARNESS_BUDGETS"):
        return Path(os.environ["HARNESS_BUDGETS"])
    root = Path(config.rootpath)
    plan = next((place / "harness.toml" for place in (root, *root.parents) if (place / "harness.toml").exists()), None)
    if plan is None:
        pytest.skip("rate_limit takes from the budgets of a harness.toml, and there is none here or above")
    directory = plan.parent / DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    for name, bounds in _budgets(plan).items():
        write_spec(directory, name, bounds.get("concurrent"), *_rate(bounds.get("rate")))
    return directory


def _budgets(plan: Path) -> dict[str, dict[str, Any]]:
    if not _READS_PLANS:
        return {}  # then what runs of the harness have written is there
    import tomllib

    resources = tomllib.loads(plan.read_text(encoding="utf-8")).get("resources", {})
    return {name: bounds for name, bounds in resources.items() if isinstance(bounds, dict)}


def _rate(text: str | None) -> tuple[int | None, float]:
    """Requests, and the seconds of their window."""
    found = re.fullmatch(r"(\d+)/([smh])", text or "")
    return (int(found[1]), _UNITS[found[2]]) if found else (None, 1.0)
