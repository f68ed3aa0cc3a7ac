"""Live output: what comes too fast is left out, and told of."""

from harness.attempt import Output
from harness.backlog import Backlog

TOLD = b"\n=== 12 B not shown here, but in the log: too much at once\n"


def test_what_is_under_way_is_bounded_and_what_is_left_out_told() -> None:
    backlog = Backlog(most=10)
    first, second = Output("a", b"x" * 6), Output("a", b"y" * 6)
    assert backlog.let_in(first) == first
    assert backlog.let_in(second) == second
    assert backlog.let_in(Output("a", b"lost 6")) is None
    assert backlog.let_in(Output("a", b"lost-6")) is None
    assert backlog.let_in(Output("b", b"lost")) is None
    backlog.out(first)
    assert backlog.let_in(Output("c", b"not before half of it is out")) is None
    backlog.out(second)
    third = backlog.let_in(Output("a", b"z"))
    assert third == Output("a", TOLD + b"z")
    backlog.out(third)
    assert backlog.end("a") == b""
    assert backlog.end("b") == TOLD.replace(b"12", b"4")
    assert backlog.end("b") == b""
    assert backlog.let_in(first) == first


def test_what_is_let_in_can_be_kept() -> None:
    memory = bytearray(b"first")
    kept = Backlog().let_in(Output("a", memoryview(memory)))
    memory[:] = b"other"
    assert kept == Output("a", b"first")
