"""Choosing ports, and finding out whose a port is."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from harness.ports import Owner, PortChooser, is_taken, owner_of

MARKS = {"HARNESS_RUN_ID": "RUN", "HARNESS_SERVICE": "api"}
LISTEN = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); s.accept()"


@pytest.fixture
def listener(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """Another process that listens, with an environment of its own: its pid and its port."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", LISTEN], env=request.param, stdout=subprocess.PIPE, start_new_session=True
    )
    with process:
        assert process.stdout
        yield process.pid, int(process.stdout.readline())
        process.kill()


def test_chosen_ports_can_be_bound_and_differ() -> None:
    chooser = PortChooser()
    chosen = [chooser.choose() for _ in range(50)]
    assert len(set(chosen)) == 50
    for port in chosen[:5]:
        socket.create_server(("127.0.0.1", port)).close()


def test_a_port_is_not_chosen_twice_though_the_system_offers_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    offers = [4711, 4711, 4712]

    class Offering(socket.socket):
        def bind(self, _: object) -> None:
            self.offer = offers.pop(0)

        def getsockname(self) -> tuple[str, int]:
            return "0.0.0.0", self.offer

    monkeypatch.setattr(socket, "socket", Offering)
    chooser = PortChooser()
    assert [chooser.choose(), chooser.choose()] == [4711, 4712]


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_is_taken_while_somebody_listens(address: str) -> None:
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        assert is_taken(port)
    assert not is_taken(port)


def test_old_connections_do_not_take_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
    accepted.close()  # the side that closes first keeps the port in TIME_WAIT
    client.close()
    assert not is_taken(port)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells an ordinary user who listens")
class TestOwner:
    @pytest.mark.parametrize("listener", [{}], indirect=True)
    def test_the_session_of_the_leader_is_the_service(self, listener: tuple[int, int]) -> None:
        pid, port = listener
        assert owner_of(port, pid, MARKS) is Owner.SERVICE

    @pytest.mark.parametrize("listener", [MARKS], indirect=True)
    def test_so_is_what_carries_the_marks(self, listener: tuple[int, int]) -> None:
        assert owner_of(listener[1], os.getpid(), MARKS) is Owner.SERVICE

    @pytest.mark.parametrize("listener", [{}, MARKS | {"HARNESS_RUN_ID": "OTHER"}], indirect=True)
    def test_anything_else_is_a_stranger(self, listener: tuple[int, int]) -> None:
        assert owner_of(listener[1], os.getpid(), MARKS) is Owner.STRANGER

    def test_a_port_on_which_nobody_listens_has_no_known_owner(self) -> None:
        assert owner_of(PortChooser().choose(), os.getpid(), MARKS) is Owner.UNKNOWN
