"""The fixture `rate_limit`: takes requests from a budget of the plan, which all processes share.

The harness says where the budgets are. Without it, the nearest harness.toml from pytest's root directory upward
does, and its project's `.harness/budgets`: whoever runs without the harness still shares with whoever runs with it.
What the harness would refuse in it is refused here too: a bound that is not understood must not pass for none.
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
_BOUNDS = {"concurrent", "rate"}
_RATE = re.compile(r"([1-9][0-9]{0,5})/([smh])")
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
    try:
        budgets = {name: _bounds(name, bounds) for name, bounds in _read(plan).items()}
    except (OSError, ValueError) as error:
        pytest.fail(f"{plan}: {error}", pytrace=False)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, bounds in budgets.items():
        write_spec(directory, name, *bounds)
    return directory


def _read(plan: Path) -> dict[str, dict[str, Any]]:
    """The budgets of a plan, as they are written there. Raises OSError, and ValueError for what is no TOML."""
    if not _READS_PLANS:
        return {}  # then what runs of the harness have written is there
    import tomllib

    resources = tomllib.loads(plan.read_text(encoding="utf-8")).get("resources", {})
    if not isinstance(resources, dict):
        raise ValueError("[resources] is no table")
    return {name: bounds for name, bounds in resources.items() if isinstance(bounds, dict)}


def _bounds(name: str, written: dict[str, Any]) -> tuple[int | None, int | None, float]:
    """At the same time, in a window, and the seconds of that. Raises ValueError for what the harness would refuse."""
    concurrent, rate = written.get("concurrent"), written.get("rate")
    found = _RATE.fullmatch(rate) if isinstance(rate, str) else None
    problem = ""
    if not written or not written.keys() <= _BOUNDS:
        problem = "it has `concurrent`, `rate` or both, and nothing else"
    elif concurrent is not None and (type(concurrent) is not int or concurrent < 1):
        problem = f"concurrent = {concurrent!r} is no whole number from 1"
    elif rate is not None and not found:
        problem = f"rate = {rate!r} is no rate; write 25/s, 600/m or 1000/h"
    if problem:
        raise ValueError(f"[resources] {name}: {problem}")
    return concurrent, *((int(found[1]), _UNITS[found[2]]) if found else (None, 1.0))
