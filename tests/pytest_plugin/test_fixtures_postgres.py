"""A schema of one's own, a connection that is rolled back, rows that are left behind: on a real Postgres."""

from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugin_suites import TELL, PluginSuite
from psycopg.conninfo import conninfo_to_dict

from harness.pytest_plugin.harness_fixtures.postgres import libpq_dsn, with_search_path


def schemas(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("SELECT nspname FROM pg_namespace")}


@pytest.fixture
def leased(plugged: PluginSuite, postgres_url: str) -> PluginSuite:
    """A suite with a lease: a schema `leased` with a table `t`, made anew."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS leased CASCADE; CREATE SCHEMA leased; CREATE TABLE leased.t (n int)")
    roles = {"dsn": "DB", "schema": "DB_SCHEMA"}
    plugged.lease("postgres", roles, DB=with_search_path(postgres_url, "leased"), DB_SCHEMA="leased")
    return plugged


def rows(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [n for (n,) in connection.execute("SELECT n FROM leased.t ORDER BY n")]


class TestSchema:
    def test_without_a_lease_each_process_has_its_own(self, plugged: PluginSuite, postgres_url: str) -> None:
        before = schemas(postgres_url)
        plugged.write(
            tell=TELL,
            test_it="""
            import psycopg, pytest
            from tell import tell

            @pytest.mark.parametrize("n", range(8))
            def test_it(n, postgres_dsn, postgres_schema, worker_id):
                with psycopg.connect(postgres_dsn) as connection:
                    connection.execute("CREATE TABLE IF NOT EXISTS orders (n int)")
                    place = connection.execute("SELECT 'orders'::regclass::oid::regclass, current_schema()").fetchone()
                    assert place == ("orders", postgres_schema)
                tell([worker_id, postgres_schema])
            """,
        )
        ran = plugged.run(workers=2, DATABASE_URL=postgres_url)
        assert ran.outcomes == {"passed": 8}, ran.output
        assert {worker for worker, _ in plugged.told()} == {"gw0", "gw1"}
        assert len({schema for _, schema in plugged.told()}) == 2
        assert schemas(postgres_url) == before

    def test_a_url_for_sqlalchemy_stays_one(self, plugged: PluginSuite, postgres_url: str) -> None:
        plugged.write(
            test_it="""
            def test_it(postgres_dsn, postgres_schema, transaction, leftovers):
                assert postgres_dsn.startswith("postgresql+asyncpg://")
                assert transaction.execute("SELECT current_schema()").fetchone() == (postgres_schema,)
            """
        )
        ran = plugged.run(DATABASE_URL=postgres_url.replace("postgresql:", "postgresql+asyncpg:"))
        assert ran.outcomes == {"passed": 1}, ran.output

    def test_the_lease(self, leased: PluginSuite, postgres_url: str) -> None:
        before = schemas(postgres_url)
        leased.write(
            test_it="""
            import os, psycopg
            def test_it(postgres_dsn, postgres_schema):
                assert (postgres_dsn, postgres_schema) == (os.environ["DB"], "leased")
                with psycopg.connect(postgres_dsn) as connection:
                    connection.execute("INSERT INTO t VALUES (7)")
            """
        )
        assert leased.run(DATABASE_URL="postgresql://nowhere").outcomes == {"passed": 1}
        assert rows(postgres_url) == [7]
        assert schemas(postgres_url) == before, "it is the harness's to drop"

    def test_without_any(self, plugged: PluginSuite) -> None:
        plugged.write(test_it="def test_it(postgres_dsn): pass\ndef test_rows(leftovers): pass")
        ran = plugged.run("-rs")
        assert ran.outcomes == {"skipped": 2}
        assert "no Postgres here: set DATABASE_URL, or give the group `isolate`" in ran.output

    def test_without_psycopg(self, plugged: PluginSuite, postgres_url: str) -> None:
        plugged.write(
            conftest="import sys; sys.modules['psycopg'] = None",
            test_it="def test_it(transaction): pass\ndef test_fails(): assert False",
        )
        ran = plugged.run("-rs", DATABASE_URL=postgres_url)
        assert ran.outcomes == {"skipped": 1, "failed": 1}
        assert 'pip install "psycopg[binary]"' in ran.output


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=10)


class TestDsn:
    @given(TEXT, TEXT, st.sampled_from(["", "?sslmode=disable", "?options=-cwork_mem%3D8MB&application_name=a%2Bb"]))
    def test_a_url_keeps_what_it_says(self, user: str, password: str, query: str) -> None:
        dsn = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@host:5433/base{query}"
        before, after = conninfo_to_dict(dsn), conninfo_to_dict(with_search_path(dsn, "mine"))
        assert after["options"] == f"{before.get('options', '')} -csearch_path=mine,public".strip()
        assert {**before, "options": ""} == {**after, "options": ""}

    def test_words_stay_words(self) -> None:
        found = with_search_path("host=h dbname=d options=-cwork_mem=8MB", "mine")
        options = "-cwork_mem=8MB -csearch_path=mine,public"
        assert conninfo_to_dict(found) == {"host": "h", "dbname": "d", "options": options}

    def test_a_driver_is_not_for_psycopg(self) -> None:
        assert libpq_dsn("postgresql+asyncpg://u:p+q@h/d") == "postgresql://u:p+q@h/d"
        assert libpq_dsn("host=h password=a+b") == "host=h password=a+b"


class TestTransaction:
    FAILS = "__import__('pytest').raises(Exception, transaction.execute, 'SELECT 1 / 0')"

    def test_all_is_rolled_back(self, leased: PluginSuite, postgres_url: str) -> None:
        leased.write(
            test_it="""
            import psycopg, pytest

            def test_writes(transaction):
                transaction.execute("INSERT INTO t VALUES (1)")
                with transaction.transaction():
                    transaction.execute("INSERT INTO t VALUES (2)")

            def test_sees_nothing_of_it(transaction):
                assert transaction.execute("SELECT count(*) FROM t").fetchone() == (0,)

            def test_an_error_within_a_savepoint(transaction):
                transaction.execute("INSERT INTO t VALUES (3)")
                with pytest.raises(psycopg.errors.DivisionByZero), transaction.transaction():
                    transaction.execute("INSERT INTO t VALUES (4)")
                    transaction.execute("SELECT 1 / 0")
                assert transaction.execute("SELECT n FROM t").fetchall() == [(3,)]

            def test_an_error(transaction):
                with pytest.raises(psycopg.errors.DivisionByZero):
                    transaction.execute("SELECT 1 / 0")

            def test_its_own_rollback(transaction):
                transaction.execute("INSERT INTO t VALUES (5)")
                transaction.rollback()
                assert transaction.execute("SELECT count(*) FROM t").fetchone() == (0,)
                transaction.row_factory = psycopg.rows.dict_row
                transaction.execute("INSERT INTO t VALUES (6)")

            def test_it_closes_the_connection(transaction):
                transaction.execute("INSERT INTO t VALUES (7)")
                transaction.close()
            """
        )
        ran = leased.run()
        assert ran.outcomes == {"passed": 6}, ran.output
        assert rows(postgres_url) == []

    def test_a_commit_is_refused(self, leased: PluginSuite, postgres_url: str) -> None:
        leased.write(
            test_it="""
            def test_it(transaction):
                transaction.execute("INSERT INTO t VALUES (1)")
                transaction.commit()

            def test_with(transaction):
                with transaction:
                    transaction.execute("INSERT INTO t VALUES (1)")
            """
        )
        ran = leased.run()
        assert ran.outcomes == {"failed": 2}
        assert "a test must not commit on the fixture `transaction`" in ran.output
        assert rows(postgres_url) == []

    @pytest.mark.parametrize("after", ["", "transaction.execute('SELECT 1')", FAILS])
    def test_a_commit_in_sql_fails_the_test(self, leased: PluginSuite, after: str) -> None:
        leased.write(
            test_it=f"""
            def test_it(transaction):
                transaction.execute("COMMIT")
                {after}
            """
        )
        ran = leased.run()
        assert ran.outcomes == {"passed": 1, "error": 1}
        assert "This test has ended the transaction in SQL." in ran.output

    def test_an_error_after_its_own_rollback_is_no_commit(self, leased: PluginSuite) -> None:
        leased.write(
            test_it=f"""
            def test_it(transaction):
                transaction.rollback()
                {self.FAILS}
            """
        )
        assert leased.run().outcomes == {"passed": 1}


class TestLeftovers:
    LEAVES = """
        import psycopg, pytest

        @pytest.fixture
        def cleaned(postgres_dsn):
            yield
            with psycopg.connect(postgres_dsn) as connection:
                connection.execute("DELETE FROM t WHERE n = 1")

        def insert(dsn, n):
            with psycopg.connect(dsn) as connection:
                connection.execute("INSERT INTO t VALUES (%s)", [n])

        def test_nothing(leftovers): pass
        def test_cleaned_by_a_fixture_that_is_older(cleaned, leftovers, postgres_dsn): insert(postgres_dsn, 1)
        def test_cleaned_by_a_fixture_that_is_younger(leftovers, cleaned, postgres_dsn): insert(postgres_dsn, 1)
        def test_rolled_back(leftovers, transaction): transaction.execute("INSERT INTO t VALUES (2)")
        """

    def test_a_test_that_leaves_none(self, leased: PluginSuite, postgres_url: str) -> None:
        with psycopg.connect(postgres_url) as connection:
            connection.execute("INSERT INTO leased.t VALUES (100)")
        leased.write(test_it=self.LEAVES)
        ran = leased.run()
        assert ran.outcomes == {"passed": 4}, ran.output

    def test_one_that_does(self, leased: PluginSuite) -> None:
        leased.write(
            test_it=self.LEAVES
            + """
        def test_leaves(leftovers, postgres_dsn):
            insert(postgres_dsn, 3)
            insert(postgres_dsn, 4)
            with psycopg.connect(postgres_dsn) as connection:
                connection.execute('CREATE TABLE "Own %s" AS SELECT 1')

        @pytest.mark.harness_leftovers("warn")
        def test_is_warned(leftovers, postgres_dsn): insert(postgres_dsn, 5)

        def test_is_not_asked(postgres_dsn): insert(postgres_dsn, 6)
        """
        )
        ran = leased.run()
        assert ran.outcomes == {"passed": 7, "error": 1, "warning": 1}, ran.output
        assert "ERROR at teardown of test_leaves" in ran.output
        assert "left rows behind in the schema leased: 1 in Own %s, 2 in t. Delete them" in ran.output
        assert "PytestWarning: the test left rows behind in the schema leased: 1 in t." in ran.output

    def test_the_last_test_of_a_session_without_a_lease(self, plugged: PluginSuite, postgres_url: str) -> None:
        before = schemas(postgres_url)
        plugged.write(
            test_it="""
            import psycopg, pytest

            @pytest.fixture
            def cleaned(postgres_dsn):
                yield
                with psycopg.connect(postgres_dsn) as connection:
                    connection.execute("DROP TABLE t")

            def leave(dsn):
                with psycopg.connect(dsn) as connection:
                    connection.execute("CREATE TABLE t AS SELECT 1")

            def test_cleans(cleaned, leftovers, postgres_dsn): leave(postgres_dsn)
            def test_leaves(leftovers, postgres_dsn): leave(postgres_dsn)
            """
        )
        ran = plugged.run("-k", "test_cleans", DATABASE_URL=postgres_url)
        assert ran.outcomes["passed"] == 1, ran.output
        assert "error" not in ran.outcomes
        ran = plugged.run(DATABASE_URL=postgres_url)
        assert ran.outcomes == {"passed": 2, "error": 1}, ran.output
        assert "ERROR at teardown of test_leaves" in ran.output
        assert ": 1 in t. Delete them" in ran.output
        assert schemas(postgres_url) == before

    def test_the_mode_of_the_suite(self, leased: PluginSuite) -> None:
        leased.write(
            test_it=self.LEAVES + "\n        def test_leaves(leftovers, postgres_dsn): insert(postgres_dsn, 3)"
        )
        assert leased.run("-o", "harness_leftovers=warn").outcomes == {"passed": 5, "warning": 1}
        ran = leased.run("-o", "harness_leftovers=ignore")
        assert ran.outcomes == {"error": 5}
        assert "harness_leftovers is 'ignore': it must be one of fail, warn" in ran.output
