"""A world for each kind, on servers that nobody else uses, and a workshop in which processes make leases and die."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from isolation.contract.tenants import serving
from isolation.contract.wire import Wire, wired
from isolation.contract.world import Place, World
from isolation.contract.world import make as make_lease
from isolation.contract.worlds import WORLDS
from servers import redis_server, running, service_of

import harness
from harness.model import Ready, Service

TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tenants_url() -> Iterator[str]:
    with serving() as api:
        yield api.url


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Postgres apart from that of the other tests: what is planted here as somebody else's stays there."""
    with running(service_of("postgres"), tmp_path_factory.mktemp("postgres-contract")) as values:
        yield values["url"]


@pytest.fixture(scope="session")
def redis64_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis with 64 databases."""
    command = (redis_server(), *["--port", "{port}", "--bind", "127.0.0.1", "--databases", "64", "--save"], "")
    service = Service(name="redis", command=command, ready=Ready(tcp=True))
    with running(service, tmp_path_factory.mktemp("redis64")) as values:
        yield f"redis://127.0.0.1:{values['port']}"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The directory of temporary files, for this process as well: nothing but what the test makes lies there."""
    directory = tempfile.mkdtemp(prefix="contract-")
    monkeypatch.setattr(tempfile, "tempdir", directory)
    monkeypatch.setenv("TMPDIR", directory)
    yield directory
    shutil.rmtree(directory)


@dataclass(frozen=True)
class Setting:
    """A world, and what it takes to make it elsewhere."""

    name: str
    world: World

    def by_way_of(self, port: int) -> World:
        return WORLDS[self.name](self.world.place.over(port))


@pytest.fixture(params=[pytest.param(name, id=name.replace(" ", "-")) for name in WORLDS])
def setting(request: pytest.FixtureRequest, tmp_path: Path, home: str) -> Setting:
    """Where nothing is, but what the kind leaves for all its leases: it has made one already, and taken it down."""
    make = WORLDS[request.param]
    (tmp_path / "project").mkdir()
    place = Place(str(tmp_path / "project"), home)
    if server := make(place).server:
        place = Place(place.project, home, request.getfixturevalue(f"{server}_url"))
    world = make(place)
    kind = world.make_kind()
    lease, _ = make_lease(kind, world.new_lease())
    kind.release(lease)
    kind.close()
    return Setting(request.param, world)


@pytest.fixture
def world(setting: Setting) -> World:
    return setting.world


@pytest.fixture
def wire(world: World) -> Iterator[Wire]:
    """To the world's server; to nothing where it has none."""
    with wired(world.place.port) as wire:
        yield wire


class Workshop:
    """The script workshop.py at work."""

    def __init__(self, setting: Setting, wire: Wire, journals: Path) -> None:
        self.journals = journals
        self._setting = setting
        place = setting.world.place.over(wire.port) if setting.world.server else setting.world.place
        self._common = {"world": setting.name, "place": place.to_json(), "journals": str(journals)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from isolation.contract.workshop import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                "PYTHONPATH": f"{TESTS}:{Path(harness.__file__).parents[1]}",
                "PATH": setting.world.variables()["PATH"],
                "TMPDIR": setting.world.place.home,
            },
        )

    def order(self, do: str, **more: Any) -> int:
        """Has a child begin something, and returns its pid."""
        self.tell({**self._common, "do": do, **more})
        pid: int = self.hear()["pid"]
        return pid

    def tell(self, words: Mapping[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the workshop has ended"
        heard: dict[str, Any] = json.loads(line)
        return heard

    def close(self) -> None:
        with self.process:
            self.process.kill()


@pytest.fixture
def workshop(setting: Setting, wire: Wire, tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(setting, wire, tmp_path / "journals")
    yield workshop
    workshop.close()


@pytest.fixture
def second_workshop(setting: Setting, wire: Wire, tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(setting, wire, tmp_path / "journals")
    yield workshop
    workshop.close()
