from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.history import History


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".harness" / "history.sqlite3"


@pytest.fixture
def open_history(tmp_path: Path) -> Iterator[Callable[..., History]]:
    """open_history("other"): a history of its own file, closed at the end."""
    opened = []

    def make(name: str = "history.sqlite3") -> History:
        opened.append(History.open(tmp_path / ".harness" / name))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def past(open_history: Callable[..., History]) -> History:
    return open_history()
