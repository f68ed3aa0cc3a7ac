"""The kind `ports`: claims that keep runs apart, taken ports that are passed over, and who still listens at the end."""

import json
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from projects import eventually

from harness.errors import InfrastructureError
from harness.isolation.lease import Context, Lease, new_token
from harness.isolation.ports import claims as claims_module
from harness.isolation.ports import kind as ports_module
from harness.isolation.ports.claims import candidates, claim_free, claimed, claims_directory, is_free, release_claim
from harness.isolation.ports.kind import Ports

LISTEN = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); print(flush=True); s.accept()"
CLAIM = """
import json, sys
from pathlib import Path
from harness.isolation.ports.claims import candidates, claim_free
found = claim_free(candidates(), Path(sys.argv[1]))
kept = [next(found) for _ in range(int(sys.argv[2]))]
print(json.dumps([claim.port for claim in kept]), flush=True)
sys.stdin.read()
"""


def lease() -> Lease:
    return Lease(token=new_token(), entry="web", kind="ports", run_id="20260101_000000", group="g")


@pytest.fixture
def kind(context: Context) -> Iterator[Ports]:
    kind = Ports({"variables": ("PORT", "ADMIN_PORT")}, context)
    yield kind
    kind.close()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], list[int]]:
    """Nothing but so many free ports can be leased, any of all, and nobody else leases them."""

    def only(count: int) -> list[int]:
        ports = sorted(random.sample([port for port in candidates() if is_free(port)], count))
        monkeypatch.setattr(ports_module, "candidates", lambda: ports)
        (tmp_path / "claims").mkdir()
        monkeypatch.setattr(ports_module, "claims_directory", lambda: tmp_path / "claims")
        return ports

    return only


def procfs(directory: Path, ephemeral: str, reserved: str = "") -> Path:
    place = directory / "sys/net/ipv4"
    place.mkdir(parents=True)
    (place / "ip_local_port_range").write_text(f"{ephemeral}\n")
    (place / "ip_local_reserved_ports").write_text(f"{reserved}\n")
    return directory


def test_each_variable_gets_a_port_that_can_be_bound(kind: Ports) -> None:
    learned: dict[str, str] = {}
    made = kind.make(lease(), learned.update)
    assert made.variables.keys() == {"PORT", "ADMIN_PORT"}
    assert len(set(made.variables.values())) == 2
    assert made.roles == {"port": "PORT"}
    assert learned == made.variables
    for port in made.variables.values():
        socket.create_server(("127.0.0.1", int(port))).close()


def test_the_kernel_gives_none_of_them_to_a_connection(kind: Ports) -> None:
    made = kind.make(lease(), dict)
    with socket.socket() as anybody:
        anybody.bind(("", 0))
        given_away = anybody.getsockname()[1]
    assert all(int(port) in candidates() for port in made.variables.values())
    assert sys.platform != "linux" or given_away not in candidates()


def test_leases_of_two_runs_never_meet_though_there_are_few(context: Context, few: Callable[[int], list[int]]) -> None:
    few(12)
    runs = [Ports({"variables": ("PORT",)}, context) for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: runs[n % 2].make(lease(), dict).variables["PORT"], range(10)))
    assert len(set(made)) == 10
    for run in runs:
        run.close()


def test_another_process_gets_other_ports_and_its_own_come_back_when_it_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(tmp_path), "20"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as other:
        assert other.stdout
        theirs = set(json.loads(other.stdout.readline()))
        assert len(theirs) == 20
        assert claimed(tmp_path) == theirs
        assert list(claim_free(sorted(theirs), tmp_path)) == []
        other.kill()
        other.wait()
    back = list(claim_free(sorted(theirs), tmp_path))
    assert {claim.port for claim in back} == theirs
    for claim in back:
        release_claim(claim)
    assert list(tmp_path.iterdir()) == []


def test_files_of_killed_runs_are_no_claims_and_are_removed(tmp_path: Path) -> None:
    (tmp_path / "20123").touch()
    (tmp_path / "note").touch()
    assert claimed(tmp_path) == set()
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_a_claim_on_a_file_that_lost_its_name_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody gives the port back between our opening of the file and our locking it; the next makes a new one."""
    locking = claims_module.fcntl.flock

    def late(descriptor: int, how: int) -> None:
        (tmp_path / "20123").unlink()
        locking(descriptor, how)

    monkeypatch.setattr(claims_module.fcntl, "flock", late)
    assert list(claim_free([20123], tmp_path)) == []


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, ""), (socket.AF_INET6, "::1")]
)
def test_a_port_that_somebody_holds_is_passed_over(
    context: Context, few: Callable[[int], list[int]], family: socket.AddressFamily, address: str
) -> None:
    taken, other = few(2)
    try:
        server = socket.create_server((address, taken), family=family)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        for _ in range(4):  # the search begins anywhere
            kind = Ports({"variables": ("PORT",)}, context)
            assert kind.make(lease(), dict).variables == {"PORT": str(other)}
            kind.close()


def test_where_old_connections_linger_no_server_is_sent_but_nobody_is_blamed(kind: Ports) -> None:
    mine = lease()
    port = int(kind.make(mine, dict).variables["PORT"])
    with socket.create_server(("127.0.0.1", port)) as server:
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
    accepted.close()  # the side that closes first keeps the port in TIME_WAIT
    client.close()
    assert not is_free(port)
    assert kind.leftovers(mine) == ()


def test_when_there_are_too_few_it_says_how_many_there_are_and_keeps_none(
    context: Context, few: Callable[[int], list[int]]
) -> None:
    few(1)
    kind, mine = Ports({"variables": ("PORT", "ADMIN_PORT")}, context), lease()
    with pytest.raises(InfrastructureError, match=r"no free port for \$ADMIN_PORT: there are 1 ports .* 1 are leased"):
        kind.make(mine, dict)
    kind.release(mine)
    assert kind.capacity().free == 1


def test_released_ports_are_free_again_and_twice_does_no_harm(kind: Ports, context: Context) -> None:
    mine, other = lease(), lease()
    open_before = psutil.Process().num_fds()
    ports = {int(port) for port in kind.make(mine, dict).variables.values()}
    assert ports <= claimed(claims_directory())
    kind.release(mine)
    kind.release(mine)
    assert not ports & claimed(claims_directory())
    assert psutil.Process().num_fds() == open_before
    theirs = {int(port) for port in kind.make(other, dict).variables.values()}
    kind.release(mine)
    Ports(kind.options, context).release(other)  # of another process: not its claims
    assert theirs <= claimed(claims_directory())


def test_capacity_counts_what_is_in_use_and_what_is_leased(context: Context, few: Callable[[int], list[int]]) -> None:
    ports = few(10)
    kind = Ports({"variables": ("PORT",)}, context)
    assert kind.capacity().free == 10
    assert kind.capacity().server == "ports", "all entries share one range"
    port = int(kind.make(lease(), dict).variables["PORT"])
    assert (kind.capacity().free, kind.capacity().total) == (9, 10)
    other = next(it for it in ports if it != port)
    with socket.create_server(("127.0.0.1", other)), socket.create_server(("127.0.0.1", port)):
        capacity = kind.capacity()
    expected = (8, "2 are in use, 0 are leased") if sys.platform == "linux" else (9, "0 are in use, 1 are leased")
    assert capacity.total == (8 if sys.platform == "linux" else 10)
    assert (capacity.free, capacity.said.partition(", ")[2][-len(expected[1]) :]) == expected
    kind.close()


def test_a_server_that_stays_is_named(kind: Ports) -> None:
    mine = lease()
    port = kind.make(mine, dict).variables["ADMIN_PORT"]
    argv = [sys.executable, "-S", "-c", LISTEN, port]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as server:
        assert server.stdout
        server.stdout.readline()
        (said,) = kind.leftovers(mine)
        server.kill()
    assert said.startswith(f"port {port} is still listened on by process {server.pid} ({sys.executable} -S -c import")
    eventually(lambda: kind.leftovers(mine) == (), "a free port")


def test_ports_that_the_kernel_or_an_administrator_gives_away_are_left_out(tmp_path: Path) -> None:
    found = candidates(procfs(tmp_path / "a", "32768\t60999", "8080,20010-20019,61000"))
    assert found == [*range(20000, 20010), *range(20020, 32768), *range(61001, 65536)]
    assert candidates(tmp_path / "there is no procfs") == list(range(20000, 32768))


def test_where_all_are_ephemeral_the_lower_ones_have_to_do(tmp_path: Path) -> None:
    assert candidates(procfs(tmp_path / "a", "1024 65535")) == list(range(20000, 32768))


@given(st.sets(st.integers(1, 40)))
def test_spans_say_all_numbers_and_no_other(ports: set[int]) -> None:
    said = ports_module._spans(sorted(ports))
    back: set[int] = set()
    for span in said.split(", ") if said else ():
        first, _, last = span.partition("-")
        back |= set(range(int(first), int(last or first) + 1))
    assert back == ports
