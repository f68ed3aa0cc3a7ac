"""Names that no other test has."""

import re

from hypothesis import given
from hypothesis import strategies as st
from plugin_suites import TELL, PluginSuite

from harness.pytest_plugin.harness_fixtures.names import safe

STAMP = r"(master|gw\d+)_\d{13}_[0-9a-f]{8}"


@given(st.text(), st.integers(1, 60))
def test_a_safe_text(text: str, most: int) -> None:
    assert re.fullmatch(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*", safe(text, most))
    assert len(safe(text, most)) <= max(most, len("test"))


def test_their_forms(plugged: PluginSuite) -> None:
    plugged.write(
        test_it=f"""
        import json, re, time, pytest

        @pytest.mark.parametrize("x", ["ä [/] " + "long" * 50])
        def test_It(x, worker_id, unique_test_id, unique_name, unique_email, unique_client_name):
            assert worker_id == "master"
            assert re.fullmatch(r"{STAMP}_test_It_x?[a-z0-9_]+", unique_test_id)
            assert abs(int(unique_test_id.split("_")[1]) / 1000 - time.time()) < 3600
            assert unique_client_name == f"TEST {{unique_test_id}}"
            assert re.fullmatch(r"test_it_[a-z0-9_]*{STAMP}", unique_name)
            assert re.fullmatch(r"test_it_[a-z0-9_]*{STAMP}@test\\.example\\.com", unique_email)

        def test_more(unique_name, unique_email):
            assert re.fullmatch(r"order_no_7_{STAMP}", unique_name("Order no. 7"))
            assert re.fullmatch(r"t7_{STAMP}", unique_name("7"))
            assert re.fullmatch(r"parent_{STAMP}@test\\.example\\.com", unique_email("parent"))
            assert len({{unique_name, *(unique_name() for _ in range(100))}}) == 101
            assert len(unique_name("x" * 300)) <= 63 and len(unique_name("7" * 300)) <= 63

        def test_it_is_a_string(unique_name):
            assert isinstance(unique_name, str)
            assert json.loads(json.dumps(unique_name)) == unique_name == f"{{unique_name}}"

        class TestClass:
            def test_method(self, unique_test_id):
                assert re.fullmatch(r"{STAMP}_test_method", unique_test_id)
        """
    )
    ran = plugged.run()
    assert ran.outcomes == {"passed": 4}, ran.output


def test_copies_are_plain(plugged: PluginSuite) -> None:
    plugged.write(
        test_it="""
        import copy, dataclasses, pickle

        @dataclasses.dataclass
        class User:
            name: str
            port: int

        def test_it(unique_name, unique_email, free_port):
            for made, plain in ((unique_name, str), (unique_email, str), (free_port, int)):
                pickled = [pickle.loads(pickle.dumps(made, version)) for version in range(pickle.HIGHEST_PROTOCOL + 1)]
                for other in (copy.copy(made), copy.deepcopy([made])[0], plain(made), *pickled):
                    assert other == made and type(other) is plain
            user = User(unique_name, free_port)
            assert dataclasses.asdict(user) == {"name": user.name, "port": user.port}
        """
    )
    ran = plugged.run()
    assert ran.outcomes == {"passed": 1}, ran.output


def test_none_twice_over_workers(plugged: PluginSuite) -> None:
    plugged.write(
        tell=TELL,
        test_it="""
        import pytest
        from tell import tell

        @pytest.mark.parametrize("n", range(40))
        def test_it(n, worker_id, unique_test_id, unique_name, unique_email):
            tell([worker_id, unique_test_id, unique_name, unique_email])
        """,
    )
    assert plugged.run(workers=2).outcomes == {"passed": 40}
    told = plugged.told()
    assert {worker for worker, *_ in told} == {"gw0", "gw1"}
    assert len({name for _, *names in told for name in names}) == 3 * 40
    assert all(name.startswith(worker) for worker, name, *_ in told)
