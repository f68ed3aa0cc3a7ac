"""Where the runs of a user meet is his alone, and the same for all of them."""

import os
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.isolation import meeting_place as module
from harness.isolation.meeting_place import meeting_place


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which nobody can write to /tmp."""
    monkeypatch.setattr(module.os, "access", lambda *_: False)
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("make", ["link", "file", "open to all"])
def test_a_place_that_is_not_ours_alone_is_refused(elsewhere: Path, make: str) -> None:
    place = meeting_place("test")
    assert place.parent == elsewhere
    assert place.stat().st_mode & 0o777 == 0o700
    place.rmdir()
    match make:
        case "link":
            place.symlink_to(elsewhere)
        case "file":
            place.touch()
        case _:
            place.mkdir()
            place.chmod(0o777)
    with pytest.raises(InfrastructureError, match=place.name):
        meeting_place("test")


def test_what_stands_in_the_way_is_named(elsewhere: Path) -> None:
    elsewhere.rmdir()
    with pytest.raises(InfrastructureError, match="cannot make"):
        meeting_place("test")


def test_runs_with_different_tmpdirs_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = meeting_place("ports")
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    assert not os.access("/tmp", os.W_OK) or meeting_place("ports") == here
