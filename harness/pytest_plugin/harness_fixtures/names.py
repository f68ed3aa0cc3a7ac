"""Names that no other test has: of this worker, of another one, of another run.

All are made of the worker's id, the time in milliseconds and eight random hexadecimal digits.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable

import pytest

_MOST_OF_A_TEST = 60  # characters of its name, of which some have hundreds in their brackets
_MOST_OF_A_TAG = 24  # with it a unique name has at most 63 characters, as much as Postgres takes


class Unique(str):
    """A unique text. Call it for more: each call makes another one, with a word of yours in it."""

    _make: Callable[[str], str]

    def __new__(cls, make: Callable[[str], str]) -> Unique:
        unique = super().__new__(cls, make(""))
        unique._make = make
        return unique

    def __call__(self, tag: str = "") -> str:
        return self._make(tag)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """A copy, or what is read from a pickle, is a plain text."""
        return str, (str(self),)


def worker_of(config: pytest.Config) -> str:
    """`gw0`, `gw1`, … in a worker of pytest-xdist; else `master`."""
    return str(getattr(config, "workerinput", {}).get("workerid", "master"))


def stamp(config: pytest.Config) -> str:
    """`{worker}_{timestamp}_{uuid}`."""
    return f"{worker_of(config)}_{time.time_ns() // 1_000_000}_{os.urandom(4).hex()}"


def safe(text: str, most: int) -> str:
    """Letters and digits of ASCII; runs of anything else become one underscore. Never empty."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:most].rstrip("_") or "test"


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """The worker of pytest-xdist that runs this test, as `gw0`; `master` where there are none."""
    return worker_of(request.config)


@pytest.fixture
def unique_test_id(request: pytest.FixtureRequest) -> str:
    """An identifier that no other test has: `{worker}_{milliseconds}_{eight hex digits}_{test}`."""
    return f"{stamp(request.config)}_{safe(request.node.name, _MOST_OF_A_TEST)}"


@pytest.fixture
def unique_name(request: pytest.FixtureRequest) -> Unique:
    """A name that no other test has; `unique_name("order")` makes another one, as often as you call it.

    Lower case, letters, digits and underscores, it begins with a letter and has at most 63 characters: it can name a
    table, a slug, a key.
    """

    def make(tag: str) -> str:
        word = safe(tag or request.node.name, _MOST_OF_A_TAG).lower()
        word = word if word[0].isalpha() else f"t{word}"[:_MOST_OF_A_TAG]
        return f"{word}_{stamp(request.config)}"

    return Unique(make)


@pytest.fixture
def unique_email(unique_name: Unique) -> Unique:
    """An e-mail address that no other test has; `unique_email("parent")` makes another one. No mail ever gets there."""
    # RFC 2606 keeps example.com free of mail; unlike the top level .test, validators of addresses accept it.
    return Unique(lambda tag: f"{unique_name(tag)}@test.example.com")


@pytest.fixture
def unique_client_name(unique_test_id: str) -> str:
    """A name for an API client that no other test has: `TEST {unique_test_id}`."""
    return f"TEST {unique_test_id}"
