"""What --fix makes of a file: whole texts compared, random ones, and files that nobody here wrote."""

import compileall
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.naming import examine
from harness.naming.tree import Edit

STDLIB_TESTS = sorted(Path(sysconfig.get_path("stdlib"), "test").glob("test_*.py"))


def fixed(code: str, *, shared: bool = False) -> str:
    """The file after --fix, whose second run must find nothing to do."""
    once = examine(dedent(code).encode(), fix=True, shared=shared)
    assert not once.problem
    again = examine(once.data, fix=True, shared=shared)
    assert (again.data, again.fixed) == (once.data, ())
    compile(once.data, "fixed", "exec")
    return once.data.decode()


FIXED = {
    "an assertion goes with it": (
        """
        def test(api):
            made = api.post("/c", json={'client_name': 'Acme', "email": "a@b.example"})  # as they are
            assert made["client_name"] == "Acme"
            assert "a@b.example" in made["contacts"]
        """,
        """
        def test(api, unique_client_name, unique_email):
            made = api.post("/c", json={'client_name': unique_client_name, "email": unique_email})  # as they are
            assert made["client_name"] == unique_client_name
            assert unique_email in made["contacts"]
        """,
    ),
    "two of them stay two": (
        """
        def test():
            create_user("a@b.example")
            create_user("c@b.example")
        """,
        """
        def test(unique_email):
            create_user(unique_email)
            create_user(f"2-{unique_email}")
        """,
    ),
    "the fixture is there and used": (
        """
        def test(unique_email):
            create_user(unique_email)
            create_user("c@b.example")
        """,
        """
        def test(unique_email):
            create_user(unique_email)
            create_user(f"2-{unique_email}")
        """,
    ),
    "no parameters, two fixtures": (
        """
        def test():
            create_user("a@b.example", username="bob smith")
        """,
        """
        def test(unique_email, unique_name):
            create_user(unique_email, username=unique_name)
        """,
    ),
    "annotated": (
        """
        async def test(api: Api, *, slow: bool = False) -> None:
            await api.post("/c", name="Acme")
        """,
        """
        async def test(api: Api, unique_name: str, *, slow: bool = False) -> None:
            await api.post("/c", name=unique_name)
        """,
    ),
    "only a keyword and a default": (
        """
        def test(*, slow=False):
            create_user(username="bob")
        """,
        """
        def test(unique_name, *, slow=False):
            create_user(username=unique_name)
        """,
    ),
    "defaults": (
        """
        def test(api, slow=False):
            create_user(username="bob")
        """,
        """
        def test(api, unique_name, slow=False):
            create_user(username=unique_name)
        """,
    ),
    "a signature of many lines": (
        """
        class TestUsers:
            def test(
                self,
                api,  # the service
            ):
                api.post("/c", name="Acme")

            def test_other(
                self,
                api
            ):
                api.post("/c", name="Acme")
        """,
        """
        class TestUsers:
            def test(
                self,
                api,  # the service
                unique_name,
            ):
                api.post("/c", name=unique_name)

            def test_other(
                self,
                api,
                unique_name
            ):
                api.post("/c", name=unique_name)
        """,
    ),
    "a fixture": (
        """
        @pytest.fixture
        def user():
            yield create_user("a@b.example")

        def test(user): ...
        """,
        """
        @pytest.fixture
        def user(unique_email):
            yield create_user(unique_email)

        def test(user): ...
        """,
    ),
    "a variable": (
        """
        def test(api):
            email = "a@b.example"
            api.post("/users", json={"email": email})
        """,
        """
        def test(api, unique_email):
            email = unique_email
            api.post("/users", json={"email": email})
        """,
    ),
    "a port and who speaks to it": (
        """
        def test():
            server = HTTPServer(("", 8080), Handler)
            assert requests.get("http://localhost:8080/x?{}").ok
            assert requests.get("http://localhost:8080/x").ok
        """,
        None,
    ),
    "a port": (
        """
        def test():
            server = HTTPServer(("", 8080), Handler)
            assert requests.get("http://localhost:8080/x").ok
        """,
        """
        def test(free_port):
            server = HTTPServer(("", free_port), Handler)
            assert requests.get(f"http://localhost:{free_port}/x").ok
        """,
    ),
    "a port in a command": (
        """
        def test():
            subprocess.Popen(["serve", "--port", "8080"])
            requests.get("http://localhost:8080")
        """,
        """
        def test(free_port):
            subprocess.Popen(["serve", "--port", str(free_port)])
            requests.get(f"http://localhost:{free_port}")
        """,
    ),
    "files": (
        """
        from pathlib import Path

        def test() -> None:
            with open("out.txt", "w") as file:
                file.write("x")
            assert open("out.txt").read() == "x"

        def test_given() -> None:
            Path("/tmp/y").write_text("y")
            assert run(Path("/tmp/y"))

        def test_place() -> None:
            place = Path("z")
            place.touch()
            assert place.exists()
        """,
        """
        from pathlib import Path

        def test(tmp_path: Path) -> None:
            with open(str(tmp_path / "out.txt"), "w") as file:
                file.write("x")
            assert open(str(tmp_path / "out.txt")).read() == "x"

        def test_given(tmp_path: Path) -> None:
            (tmp_path / "y").write_text("y")
            assert run(tmp_path / "y")

        def test_place(tmp_path: Path) -> None:
            place = tmp_path / "z"
            place.touch()
            assert place.exists()
        """,
    ),
    "keys": (
        """
        def test(redis_client):
            redis_client.set('n{1}', "x")
            assert redis_client.get('n{1}') == b"x"
            redis_client.delete("other", 'n{1}')
        """,
        """
        def test(redis_client, redis_prefix):
            redis_client.set(f"{redis_prefix}n{{1}}", "x")
            assert redis_client.get(f"{redis_prefix}n{{1}}") == b"x"
            redis_client.delete("other", f"{redis_prefix}n{{1}}")
        """,
    ),
}


@pytest.mark.parametrize(("before", "after"), FIXED.values(), ids=FIXED)
def test_a_fixture_stands_in(before: str, after: str | None) -> None:
    assert fixed(before) == dedent(before if after is None else after)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_endings_and_the_byte_order_mark_stay(ending: str, mark: bytes) -> None:
    code = 'def test(\n    ä,\n):\n    x = "ü"\t\n    create_user(username="bob")  # ß \n\n'.replace("\n", ending)
    after = code.replace('"bob"', "unique_name").replace("ä,", f"ä,{ending}    unique_name,")
    result = examine(mark + code.encode(), fix=True)
    assert result.data == mark + after.encode()
    assert (result.findings, len(result.fixed)) == ((), 1)


def test_the_encoding_stays() -> None:
    code = '# -*- coding: latin-1 -*-\ndef test(ä):\n    create_user(username="bob", city="Köln")\n'
    after = code.replace('"bob"', "unique_name").replace("(ä)", "(ä, unique_name)")
    assert examine(code.encode("latin-1"), fix=True).data == after.encode("latin-1")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"x = 1\ndef (:\n", 2),
        (b"# coding: nonsense\n", 1),
        (b"x = '\xff'\n", 1),
        (b"x = " + b"(" * 5000, 1),
        (b"x = " + b"-" * 5000 + b"1", 1),
    ],
)
def test_what_is_no_python_is_told_with_its_line_and_stays(data: bytes, line: int) -> None:
    result = examine(data, fix=True)
    assert result.problem
    assert (result.line, result.data) == (line, data)


DEEP = {
    "calls": "x = a" + ".b()" * 5000,
    "a few hundred calls": "x = a" + ".b()" * 300,
    "not": "x = " + "not " * 20000 + "1",
    "a sum": "x = " + "a + " * 3000 + "1",
    "and": "x = " + "a and " * 20000 + "1",
    "strings side by side": "x = " + '"a" ' * 20000,
    "strings in lines": "x = (" + '"a"\n' * 20000 + ")",
    "f-strings side by side": "x = " + 'f"{a}" ' * 20000,
    "a dotted import": "import a" + ".b" * 20000,
    "loops in a comprehension": "x = [1 " + "for a in b " * 20000 + "]",
    "otherwise": "if a: b\n" + "elif a: b\n" * 20000,
}


@pytest.mark.parametrize("code", DEEP.values(), ids=DEEP)
def test_what_would_overflow_the_parser_is_told_and_stays(code: str) -> None:
    """In a process of its own: libcst would take the whole process down with it."""
    script = (
        "import sys; from harness.naming import examine; data = sys.stdin.buffer.read();"
        "result = examine(data, fix=True); assert result.data == data; print(result.problem)"
    )
    ended = subprocess.run([sys.executable, "-c", script], input=code, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "is nested too deeply to be examined\n"), ended.stderr


def test_what_python_would_not_take_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.naming.fixes.added", lambda *_: [Edit(0, 0, "(")])
    code = b'def test():\n    create_user(username="bob")\n'
    result = examine(code, fix=True)
    assert (result.data, result.fixed) == (code, ())
    assert [finding.obstacle for finding in result.findings] == ["the file would be no Python with its fixes"]


def test_a_path_that_the_encoding_has_no_letter_for_stays() -> None:
    code = b'# coding: latin-1\ndef test():\n    open("\\u20ac-out", "w")\n    open("\\u20ac-out")\n'
    assert examine(code, fix=True).data == code


IDENTIFIERS = st.sampled_from(["bob", "a@b.example", "Acme", "/tmp/x", "{x}", "ü", "a b", '"', "\\"])
STATEMENTS = st.sampled_from(
    [
        "create_user(username=TEXT)",
        "api.post('/c', json={'client_name': TEXT, 'email': TEXT})",
        "open(TEXT, 'w')",
        "redis.set(TEXT, 1); redis.get(TEXT)",
        "assert made == TEXT",
        "x = TEXT; create_user(x)",
        "s.bind(('', 8080)); requests.get('http://localhost:8080')",
        "# a comment, é",
        "log(f'{made} ' TEXT)",
    ]
)
SIGNATURES = st.sampled_from(
    ["()", "(api)", "(\n    api,\n    redis\n)", "(api: Api = None) -> None", "(*a, **k)", "(a, /)"]
)
FUNCTIONS = st.builds(
    lambda signature, pairs: (
        f"def test{signature}:\n"
        + "".join(f"    {statement.replace('TEXT', repr(text))}\n" for statement, text in pairs)
        + "    pass\n"
    ),
    SIGNATURES,
    st.lists(st.tuples(STATEMENTS, IDENTIFIERS), max_size=5),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(FUNCTIONS, min_size=1, max_size=3))
def test_a_fixed_file_compiles_and_needs_no_second_fix(functions: list[str]) -> None:
    before = "\n".join(functions).encode()
    result = examine(before, fix=True)
    assert not result.problem
    compile(result.data, "fixed", "exec")
    assert (result.data == before) == (not result.fixed)
    again = examine(result.data, fix=True)
    assert (again.data, again.fixed) == (result.data, ())


@pytest.mark.parametrize("part", range(4))
def test_a_corpus_that_nobody_here_wrote_stays_or_compiles(part: int, tmp_path: Path) -> None:
    """Every fortieth of the standard library's own test files."""
    assert len(STDLIB_TESTS) > 100 or pytest.skip("this Python comes without its tests")
    for path in STDLIB_TESTS[part::40]:
        data = path.read_bytes()
        result = examine(data, fix=True)
        if result.problem:
            continue  # files of another encoding or syntax are there on purpose
        assert (result.data == data) == (not result.fixed), path.name
        (tmp_path / path.name).write_bytes(result.data)
    assert compileall.compile_dir(str(tmp_path), quiet=1)


def test_libcst_is_imported_only_when_something_is_looked_through() -> None:
    script = "import sys, harness.naming, harness.cli.names; print('libcst' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "False\n"


def test_without_libcst_the_extra_is_named() -> None:
    script = dedent("""
        import sys
        sys.modules["libcst"] = None
        from harness.errors import UsageError
        from harness.naming import examine
        try:
            examine(b"")
        except UsageError as error:
            print(error.message, error.cure)
    """)
    told = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert re.search(r"needs libcst.*parallel-harness\[names\]", told)
