"""Where the tests get the service and their organization from.

The harness hands both over in the environment. Without an organization's key, one is made with the platform's key
and deleted at the end, so that a file can be run by hand against a service that is up.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from client import Api, User, unique
from monitoring import Prometheus, running_prometheus, tool

pytest_plugins = ["harness_fixtures"]  # as the harness does; this is for those who run pytest by hand


def pytest_sessionstart(session: pytest.Session) -> None:
    if session.config.option.collectonly:
        return
    if not os.environ.get("SEARCHABLE_URL"):
        name = Path(session.config.args[0].partition("::")[0]).stem if session.config.args else "NAME"
        raise pytest.UsageError(f"no service to test (SEARCHABLE_URL): run ./exec.sh local test --t {name}")
    if not (os.environ.get("TESTS_ORG_SECRET_KEY") or os.environ.get("SEARCHABLE_PLATFORM_KEY")):
        raise pytest.UsageError("TESTS_ORG_SECRET_KEY or SEARCHABLE_PLATFORM_KEY must be set")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that ask Prometheus come last: until its first scrape the others have the time to themselves."""
    items.sort(key=asks_prometheus)


def asks_prometheus(item: pytest.Item) -> bool:
    return "prometheus" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session", autouse=True)
def early_start(request: pytest.FixtureRequest) -> None:
    """Has Prometheus started before the first test, if any test is going to ask it."""
    if any(asks_prometheus(item) for item in request.session.items):
        request.getfixturevalue("prometheus")


@pytest.fixture(scope="session")
def prometheus(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus | None]:
    """A real Prometheus that scrapes the service; None where none is installed."""
    binary = tool("prometheus", "PROMETHEUS_BIN")
    if binary is None:
        yield None
        return
    with running_prometheus(binary, url, tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture(scope="session")
def url() -> str:
    return os.environ["SEARCHABLE_URL"].rstrip("/")


@pytest.fixture(scope="session")
def organization(url: str) -> Iterator[tuple[str, str]]:
    """Slug and key of the organization that this process tests in."""
    if key := os.environ.get("TESTS_ORG_SECRET_KEY"):
        slug = os.environ.get("TESTS_ORG")
        if not slug:
            pytest.exit("TESTS_ORG_SECRET_KEY is set, but not TESTS_ORG: the organization's slug", returncode=4)
        yield slug, key
        return
    platform = Api(url, os.environ["SEARCHABLE_PLATFORM_KEY"])
    slug = unique("suite")
    yield slug, platform.post("/v1/platform/organizations", slug=slug)["secret_key"]
    platform.send("DELETE", "/v1/platform/organizations", json={"slug": slug})


@pytest.fixture(scope="session")
def slug(organization: tuple[str, str]) -> str:
    return organization[0]


@pytest.fixture(scope="session")
def api(url: str, organization: tuple[str, str]) -> Api:
    """The service, as the organization of this process."""
    return Api(url, organization[1])


@pytest.fixture
def user(api: Api) -> User:
    """A user that no other test knows."""
    return api.register()


@pytest.fixture
def other(api: Api) -> User:
    """A second one."""
    return api.register("other")
