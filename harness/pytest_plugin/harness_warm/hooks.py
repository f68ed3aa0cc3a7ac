"""The plugin of the warm parent: `-p harness_warm.hooks`."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import parent


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    if parent.here:
        parent.here.watch.before_the_project()


# Last, when all plugins are there.
@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if parent.here:
        parent.here.postpone(config)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart() -> None:
    if parent.here:
        parent.here.begin_session()


# Before pytest's own, which collects. Around it stand the hooks that catch warnings and logs of the collection.
@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    if parent.here:
        parent.here.serve(session)  # returns in a child: pytest goes on


@pytest.hookimpl(tryfirst=True)
def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """The siblings of the files that were asked for: pytest would make a collector of each, and drop it."""
    wanted = parent.here.wanted if parent.here else None
    if wanted is None or collection_path in wanted or collection_path.name == "__init__.py":
        return None
    return True
