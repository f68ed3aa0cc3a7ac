"""What the harness has leased, in the hands of tests; and a worker's claim of an environment of its own."""

import os
import socket
from pathlib import Path

import pytest
import redis
from plugin_suites import TELL, PluginSuite

from harness.pytest_plugin.harness_fixtures.freeports import PortClaims

WORKER = [
    {
        "TESTS_ORG": f"org-{n}",
        "HARNESS_LEASES": f'[{{"entry": "org", "kind": "tenant", "roles": {{"name": "TESTS_ORG"}}, "n": {n}}}]',
    }
    for n in range(2)
]


class TestTenant:
    def test_the_lease(self, plugged: PluginSuite) -> None:
        plugged.lease("tenant", {"name": "TESTS_ORG"}, TESTS_ORG="test-refunds-1", TESTS_ORG_KEY="sk_1")
        plugged.write(
            test_it="""
            def test_it(tenant):
                assert tenant.name == "test-refunds-1"
                assert tenant.variables == {"TESTS_ORG": "test-refunds-1", "TESTS_ORG_KEY": "sk_1"}
                assert tenant["TESTS_ORG_KEY"] == "sk_1"
                assert "sk_1" not in repr(tenant)
            """
        )
        assert plugged.run().outcomes == {"passed": 1}

    def test_without_one(self, plugged: PluginSuite) -> None:
        plugged.write(test_it="def test_it(tenant): pass")
        ran = plugged.run("-rs")
        assert ran.outcomes == {"skipped": 1}
        assert "no tenant here: give the group `isolate`" in ran.output


class TestRedis:
    USES_IT = """
        import os, redis
        def test_it(redis_url, redis_prefix):
            client = redis.Redis.from_url(redis_url)
            for n in range(2500):
                client.set(f"{redis_prefix}key{n}", n)
            with open("prefix", "w") as file:
                file.write(redis_prefix)
        """

    def test_without_a_lease_an_own_prefix_whose_keys_are_deleted(self, plugged: PluginSuite, redis_url: str) -> None:
        with redis.Redis.from_url(redis_url, db=3) as client:
            client.set("test:somebody:else", "1")
            plugged.write(test_it=self.USES_IT)
            assert plugged.run(REDIS_URL=f"{redis_url}/3").outcomes == {"passed": 1}
            prefix = (plugged.directory / "prefix").read_text()
            assert prefix.startswith("test:master_")
            assert client.keys() == [b"test:somebody:else"]

    @pytest.mark.parametrize("prefix", ["h:group:0123:", ""])
    def test_the_lease(self, plugged: PluginSuite, redis_url: str, prefix: str) -> None:
        """Its keys are the harness's to delete."""
        database = 4 if prefix else 5
        values = {"CACHE_URL": f"{redis_url}/{database}"} | ({"CACHE_PREFIX": prefix} if prefix else {})
        plugged.lease("redis", {"url": "CACHE_URL", "prefix": "CACHE_PREFIX"}, **values)
        plugged.write(test_it=self.USES_IT)
        assert plugged.run(REDIS_URL="redis://nowhere").outcomes == {"passed": 1}
        assert (plugged.directory / "prefix").read_text() == prefix
        with redis.Redis.from_url(redis_url, db=database) as client:
            assert client.dbsize() == 2500

    def test_without_any(self, plugged: PluginSuite) -> None:
        plugged.write(test_it=self.USES_IT)
        ran = plugged.run("-rs")
        assert ran.outcomes == {"skipped": 1}
        assert "no Redis here: set REDIS_URL, or give the group `isolate`" in ran.output

    def test_without_the_package(self, plugged: PluginSuite, redis_url: str) -> None:
        plugged.write(conftest="import sys; sys.modules['redis'] = None", test_it="def test_it(redis_prefix): pass")
        ran = plugged.run("-rs", REDIS_URL=redis_url)
        assert ran.outcomes == {"skipped": 1}
        assert "pip install redis" in ran.output


class TestPorts:
    LISTENS = """
        import json, socket
        def test_it(free_port):
            ports = [free_port, free_port(), free_port()]
            servers = [socket.create_server(("", port)) for port in ports]
            assert len(set(ports)) == 3 and f"{free_port}" == str(int(free_port))
            with open("ports", "w") as file:
                json.dump(ports, file)
        """

    def ports(self, plugged: PluginSuite) -> list[int]:
        plugged.write(test_it=self.LISTENS)
        ran = plugged.run()
        assert ran.outcomes == {"passed": 1}, ran.output
        return [int(port) for port in (plugged.directory / "ports").read_text().strip("[]").split(",")]

    def test_the_leased_ones_come_first(self, plugged: PluginSuite) -> None:
        leased = _free_ports(2)
        plugged.lease("ports", {"port": "PORT"}, PORT=str(leased[0]), ADMIN_PORT=str(leased[1]))
        assert self.ports(plugged)[:2] == leased

    def test_one_that_is_taken_is_passed_over(self, plugged: PluginSuite) -> None:
        with socket.create_server(("", 0)) as server:
            taken = server.getsockname()[1]
            plugged.lease("ports", {"port": "PORT"}, PORT=str(taken))
            assert taken not in self.ports(plugged)

    def test_the_kernel_gives_none_of_them_away_by_itself(self, plugged: PluginSuite) -> None:
        try:
            first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        except OSError:
            pytest.skip("this system does not tell its ephemeral ports")
        assert not [port for port in self.ports(plugged) if first <= port <= last or port < 20_000]

    def test_nobody_gets_one_twice(self, plugged: PluginSuite) -> None:
        """Only a range of 200 ports is left to two workers that hold 60 each."""
        plugged.write(
            conftest="""
            import importlib
            import harness_fixtures.freeports as freeports
            freeports._candidates = lambda: list(range(21000, 21200))
            """,
            tell=TELL,
            test_it="""
            import os, time, pytest
            from tell import tell

            @pytest.mark.parametrize("n", range(2))
            def test_it(n, free_port, worker_id):
                tell([worker_id, free_port, *(free_port() for _ in range(59))])
                deadline = time.monotonic() + 30
                while len([name for name in os.listdir() if name.startswith("told-")]) < 2:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            """,
        )
        assert plugged.run(workers=2).outcomes == {"passed": 2}
        told = plugged.told()
        assert {worker for worker, *_ in told} == {"gw0", "gw1"}
        assert len({port for _, *ports in told for port in ports}) == 120

    def test_who_closes_every_file_has_lost_the_port_and_keeps_its_own_files(self) -> None:
        with PortClaims([]) as claims:
            claims.take()
            ((path, lock),) = claims._locks
            os.close(lock.descriptor)
            theirs = os.open(os.devnull, os.O_RDWR)
            os.dup2(theirs, lock.descriptor)
        try:
            assert os.write(lock.descriptor, b"still open")
            assert path.exists(), "it may be the claim of somebody else by now"
        finally:
            for descriptor in {theirs, lock.descriptor}:
                os.close(descriptor)
            path.unlink()

    def test_a_claim_whose_file_cannot_be_removed_is_given_up(self) -> None:
        with PortClaims([]) as claims:
            claims.take()
            ((path, lock),) = claims._locks
            path.unlink()
        assert not lock.is_open()

    def test_a_group_whose_workers_the_plan_does_not_tell_does_not_share_its_leased_port(
        self, plugged: PluginSuite
    ) -> None:
        (leased,) = _free_ports(1)
        plugged.lease("ports", {"port": "PORT"}, PORT=str(leased))
        plugged.write(test_it=f"def test_it(free_port): assert free_port != {leased}")
        assert plugged.run(workers=1).outcomes == {"passed": 1}


class TestWorkers:
    TESTS = """
        import os, time, pytest
        from tell import tell
        from conftest import SEEN

        @pytest.mark.parametrize("n", range(2))
        def test_it(n, tenant, worker_id):
            tell([tenant.name, worker_id, SEEN])
            deadline = time.monotonic() + 30
            while len([name for name in os.listdir() if name.startswith("told-")]) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        """
    CONFTEST = "import os\nSEEN = os.environ.get('TESTS_ORG', 'nothing')"

    def test_each_has_its_own_before_conftests_are_loaded(self, plugged: PluginSuite) -> None:
        plugged.worker_environments(WORKER)
        plugged.write(conftest=self.CONFTEST, tell=TELL, test_it=self.TESTS)
        ran = plugged.run("--import-mode=prepend", workers=2)
        assert ran.outcomes == {"passed": 2}, ran.output
        told = plugged.told()
        assert {name for name, *_ in told} == {"org-0", "org-1"}
        assert {worker for _, worker, _ in told} == {"gw0", "gw1"}
        assert all(name == seen for name, _, seen in told)

    def test_who_replaces_one_that_crashed_gets_its_own(self, plugged: PluginSuite) -> None:
        plugged.worker_environments(WORKER)
        plugged.write(
            tell=TELL,
            test_it="""
            import os, pytest
            from tell import tell

            @pytest.mark.parametrize("n", range(6))
            def test_it(n, tenant):
                tell(tenant.name)
                if n % 2:
                    os._exit(3)
            """,
        )
        ran = plugged.run(workers=2)
        assert ran.outcomes == {"passed": 3, "failed": 3}, ran.output
        assert set(plugged.told()) == {"org-0", "org-1"}

    def test_a_forked_child_keeps_no_claim(self, plugged: PluginSuite) -> None:
        """Else it would hold it after its worker's death, and whoever replaces that would find no environment."""
        plugged.worker_environments(WORKER[:1])
        plugged.write(
            test_it="""
            import os
            from harness_fixtures import leases

            def test_it():
                (claim,) = leases._claims
                child = os.fork()
                if not child:
                    os._exit(claim.is_open())
                assert os.waitpid(child, 0)[1] == 0
                assert claim.is_open()
            """
        )
        ran = plugged.run(workers=1)
        assert ran.outcomes == {"passed": 1}, ran.output

    def test_a_pytest_that_a_test_starts_claims_nothing(self, plugged: PluginSuite) -> None:
        plugged.worker_environments(WORKER[:1])
        plugged.write(
            test_it="""
            import os, subprocess, sys

            def test_it(tenant):
                nested = [sys.executable, "-m", "pytest", "-p", "harness_fixtures", "inner.py"]
                subprocess.run(nested, check=True)
                subprocess.run([*nested, "-p", "xdist", "-n", "2"], check=True)
            """,
            inner="def test_inner(tenant): assert tenant.name == 'org-0'",
        )
        ran = plugged.run(workers=1)
        assert ran.outcomes == {"passed": 1}, ran.output

    def test_without_xdist_the_group_has_its_variables_as_they_are(self, plugged: PluginSuite) -> None:
        plugged.worker_environments(WORKER)
        plugged.write(test_it="import os\ndef test_it(): assert 'TESTS_ORG' not in os.environ")
        # As where the harness itself runs within a worker of somebody's pytest.
        assert plugged.run(PYTEST_XDIST_WORKER="gw0").outcomes == {"passed": 1}

    def test_more_workers_than_environments(self, plugged: PluginSuite) -> None:
        plugged.worker_environments(WORKER[:1])
        plugged.write(test_it="def test_it(): pass")
        ran = plugged.run(workers=2)
        assert ran.code == pytest.ExitCode.USAGE_ERROR
        assert "pytest-xdist starts 2 workers, and the harness has made environments for 1" in ran.output


def _free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in servers]
    for server in servers:
        server.close()
    return ports
