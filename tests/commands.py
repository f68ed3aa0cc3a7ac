"""Command lines in this process: faster than one each, and with the same ends."""

import contextlib
import io
import sys

import pytest

from harness.cli.main import main


def ended(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The exit code of a command line, and what it said on stderr. The harness's signals stay as they are."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    monkeypatch.setattr(sys, "argv", ["harness", *words])
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main()
    err.flush()
    return int(code), err.buffer.getvalue().decode()  # type: ignore[attr-defined]
