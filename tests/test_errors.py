"""What is said of an error, whoever caught it."""

import errno

import pytest

from harness.errors import SHORTAGES, shortage


def raised(number: int) -> OSError:
    return OSError(number, "as the system says it")


def test_too_little_of_something_is_told_with_its_cure() -> None:
    assert shortage(raised(errno.EMFILE)) == "too many open files: raise `ulimit -n`, or run fewer groups at a time"
    assert all(shortage(raised(number)) == said for number, said in SHORTAGES.items())


def test_it_is_found_behind_what_it_led_to() -> None:
    first = ValueError("no answer")
    first.__cause__ = raised(errno.EAGAIN)
    last = KeyError("nothing there")
    last.__context__ = first
    assert shortage(last) == SHORTAGES[errno.EAGAIN]


def test_a_library_that_could_not_be_opened_says_it_in_words() -> None:
    assert (
        shortage(ImportError("libz.so.1: cannot open shared object file: Too many open files"))
        == (SHORTAGES[errno.EMFILE])
    )


@pytest.mark.parametrize(
    "error", [None, ValueError("Too many open files"), raised(errno.ENOENT), OSError("no number"), TimeoutError()]
)
def test_of_anything_else_nothing_is_said(error: Exception | None) -> None:
    assert shortage(error) == ""
