"""The plugin `harness_fixtures` is there once, for whoever wants it, and disturbs nobody else."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_suites import PLUGINS, PluginSuite

PACKAGE = PLUGINS / "harness_fixtures"
FIXTURES = (
    *("worker_id", "unique_test_id", "unique_name", "unique_email", "unique_client_name", "tenant", "free_port"),
    *("postgres_schema", "postgres_dsn", "transaction", "leftovers", "redis_url", "redis_prefix", "rate_limit"),
    *("eventually", "race", "load", "retry_on_conflict"),
)

WHICH = """
    def pytest_report_header(config):
        names = [name for name, plugin in config.pluginmanager.list_name_plugin() if plugin and "harness" in name]
        return f"plugins {sorted(names)}"

    def pytest_sessionstart(session):
        if hasattr(session.config, "workerinput"):
            with open("worker", "w") as file:
                print(pytest_report_header(session.config), file=file)
    """

ONCE = "['harness_fixtures', '{0}harness_fixtures.hooks', 'harness_fixtures_chosen', 'harness_fixtures_runs']"


@pytest.fixture
def installed(plugged: PluginSuite) -> PluginSuite:
    """The package parallel-harness is installed, as far as entry points go."""
    metadata = plugged.directory / "site" / "parallel_harness-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: parallel-harness\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[pytest11]\nharness_fixtures = harness.pytest_plugin.harness_fixtures\n"
    )
    plugged.env["PYTHONPATH"] = f"{PLUGINS}:{metadata.parent}:{PLUGINS.parent.parent}"
    return plugged


class TestOnce:
    @pytest.mark.parametrize("workers", [0, 1])
    def test_by_its_name(self, plugged: PluginSuite, workers: int) -> None:
        plugged.write(conftest=WHICH, test_it="def test_it(unique_name): pass")
        ran = plugged.run(workers=workers)
        assert ONCE.format("") in ran.output
        assert ran.outcomes == {"passed": 1}
        if workers:
            assert ONCE.format("") in (plugged.directory / "worker").read_text()

    @pytest.mark.parametrize("workers", [0, 1])
    @pytest.mark.parametrize("autoload", [True, False])
    def test_by_its_name_where_there_is_an_entry_point_too(
        self, installed: PluginSuite, workers: int, autoload: bool
    ) -> None:
        installed.write(conftest=WHICH, test_it="def test_it(unique_name): pass")
        off = {} if autoload else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        installed.env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = ""
        # With all plugins of this environment pytest takes seconds to start, so those that matter alone.
        ran = installed.run("-p", "no:hypothesispytest", workers=workers, **off)
        expected = sorted(re.findall(r"'([^']+)'", ONCE.format("harness.pytest_plugin.")))
        assert str(expected) in ran.output
        assert ran.outcomes == {"passed": 1}
        if workers:
            assert str(expected) in (installed.directory / "worker").read_text()

    def test_by_its_entry_point_alone(self, installed: PluginSuite) -> None:
        installed.write(test_it="def test_it(unique_name): pass")
        assert installed.run(plugin=False, PYTEST_DISABLE_PLUGIN_AUTOLOAD="").outcomes == {"passed": 1}


class TestOff:
    USES_IT = "def test_it(unique_name): pass"

    @pytest.mark.parametrize("workers", [0, 1])
    def test_in_addopts_against_the_command_line(self, plugged: PluginSuite, workers: int) -> None:
        plugged.write(test_it=self.USES_IT)
        ran = plugged.run(workers=workers, PYTEST_ADDOPTS="-p no:harness_fixtures")
        assert "fixture 'unique_name' not found" in ran.output
        assert ran.outcomes == {"error": 1}

    def test_on_the_command_line_against_the_entry_point(self, installed: PluginSuite) -> None:
        installed.write(test_it=self.USES_IT, test_other="def test_other(): pass")
        ran = installed.run("-p", "no:harness_fixtures", plugin=False, PYTEST_DISABLE_PLUGIN_AUTOLOAD="")
        assert ran.outcomes == {"error": 1, "passed": 1}


class TestOthersWin:
    def test_a_fixture_of_a_conftest(self, plugged: PluginSuite) -> None:
        plugged.write(
            conftest="""
            import pytest

            @pytest.fixture(scope="session")
            def load(): return "theirs"

            @pytest.fixture
            def tenant(): return "theirs too"
            """,
            test_it="def test_it(load, tenant): assert (load, tenant) == ('theirs', 'theirs too')",
        )
        assert plugged.run().outcomes == {"passed": 1}

    @pytest.mark.parametrize("order", [("-p", "theirs"), ()])
    def test_a_fixture_of_another_plugin(self, plugged: PluginSuite, order: tuple[str, ...]) -> None:
        plugged.write(
            theirs="import pytest\n@pytest.fixture\ndef race(): return 'theirs'",
            conftest="" if order else "pytest_plugins = ['theirs']",
            test_it="def test_it(race, load): assert race == 'theirs' and callable(load)",
        )
        assert plugged.run(*order, PYTHONPATH=f"{PLUGINS}:{plugged.directory}").outcomes == {"passed": 1}

    def test_a_fixture_of_another_plugin_that_is_called_otherwise_there(self, plugged: PluginSuite) -> None:
        plugged.write(
            theirs="import pytest\n@pytest.fixture(name='race')\ndef make_race(): return 'theirs'",
            test_it="def test_it(race): assert race == 'theirs'",
        )
        assert plugged.run("-p", "theirs", PYTHONPATH=f"{PLUGINS}:{plugged.directory}").outcomes == {"passed": 1}

    def test_a_plugin_whose_name_ends_in_conftest(self, plugged: PluginSuite) -> None:
        plugged.write(
            shared_conftest="import pytest\n@pytest.fixture\ndef race(): return 'theirs'",
            test_it="def test_it(race): assert race == 'theirs'",
        )
        assert plugged.run("-p", "shared_conftest", PYTHONPATH=f"{PLUGINS}:{plugged.directory}").outcomes == {
            "passed": 1
        }

    def test_a_fixture_of_a_conftest_in_a_directory_wins_only_there(self, plugged: PluginSuite) -> None:
        plugged.write(test_it="def test_it(load): assert callable(load)")
        below = plugged.directory / "below"
        below.mkdir()
        (below / "conftest.py").write_text("import pytest\n@pytest.fixture\ndef load(): return 'theirs'")
        (below / "test_below.py").write_text("def test_below(load): assert load == 'theirs'")
        assert plugged.run("below", "test_it.py").outcomes == {"passed": 2}

    def test_an_argument_of_a_parametrized_test(self, plugged: PluginSuite) -> None:
        plugged.write(
            test_it="""
            import pytest
            @pytest.mark.parametrize("load", [1, 2])
            def test_it(load): assert load in (1, 2)
            """
        )
        assert plugged.run().outcomes == {"passed": 2}

    def test_the_worker_id_of_xdist(self, plugged: PluginSuite) -> None:
        plugged.write(test_it="def test_it(worker_id): assert worker_id == 'gw0'")
        ran = plugged.run("--fixtures", "-v", workers=1)
        assert ran.output.count("\nworker_id [session scope]") == 1
        assert plugged.run(workers=1).outcomes == {"passed": 1}


class TestNoDisturbance:
    def test_a_suite_that_uses_none_of_it_prints_the_same(self, plugged: PluginSuite) -> None:
        plugged.write(
            test_it="""
            import pytest
            def test_passes(): pass
            def test_fails(): print("said"); assert 1 == 2
            @pytest.mark.skip
            def test_skipped(): pass
            @pytest.mark.xfail
            def test_expected(): assert False
            """
        )
        with_it, without = plugged.run("-ra"), plugged.run("-ra", plugin=False)
        assert with_it.code == without.code == 1
        assert _timeless(with_it.output) == _timeless(without.output)

    def test_the_markers_are_known(self, plugged: PluginSuite) -> None:
        plugged.write(
            test_it="""
            import pytest
            @pytest.mark.serial
            @pytest.mark.redis_isolated
            @pytest.mark.heavy_resource
            @pytest.mark.harness_leftovers("warn")
            def test_it(): pass
            """
        )
        assert plugged.run("-W", "error").outcomes == {"passed": 1}

    def test_each_fixture_says_what_it_is(self, plugged: PluginSuite) -> None:
        output = plugged.run("--fixtures").output
        for name in FIXTURES:
            assert re.search(rf"^{name}( \[session scope\])? -- .*\n    \S", output, re.MULTILINE), name
        assert "_database" not in output


def _timeless(output: str) -> str:
    return re.sub(r"in [0-9.]+s", "in …s", output)


class TestPackage:
    @pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
    def test_what_it_imports_and_how_old_a_python_can_read_it(self, path: Path) -> None:
        tree = ast.parse(path.read_text(), feature_version=(3, 8))
        allowed = set(sys.stdlib_module_names) | {"pytest", "__future__"}
        at_once = {node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = {node.module or ""}
            elif isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            else:
                continue
            extra = set() if node in at_once else {"psycopg", "redis"}
            assert {name.partition(".")[0] for name in names} <= allowed | extra, f"line {node.lineno}"

    def test_the_harness_needs_no_pytest_for_its_part(self) -> None:
        script = """
            import sys
            sys.modules["pytest"] = None
            from harness.pytest_plugin.harness_fixtures import budgets, meeting
            """
        subprocess.run([sys.executable, "-c", re.sub(r"^\s+", "", script, flags=re.MULTILINE)], check=True)

    def test_it_loads_nothing_heavy(self, plugged: PluginSuite) -> None:
        heavy = ("psycopg", "redis", "asyncio", "http.client", "multiprocessing", "tomllib")
        plugged.write(
            test_it=f"""
            import sys
            def test_it(): assert [name for name in {heavy} if name in sys.modules] == []
            """
        )
        assert plugged.run().outcomes == {"passed": 1}
