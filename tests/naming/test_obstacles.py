"""What --fix leaves alone, and why it says so."""

from textwrap import dedent

import pytest

from harness.naming import examine


def obstacle(code: str, *, shared: bool = False) -> str:
    """Why nothing is fixed."""
    result = examine(dedent(code).encode(), fix=True, shared=shared)
    assert result.data == dedent(code).encode()
    (finding,) = result.findings
    return finding.obstacle


LEFT = {
    "a constant": ('NAME = "Acme"\ndef test():\n    create_user(username=NAME)', "outside of the tests"),
    "a helper": ('def make():\n    create_user(username="bob smith")', "outside of the tests"),
    "a wider scope": (
        '@pytest.fixture(scope="session")\ndef user():\n    return create_user(username="bob")',
        "a wider scope",
    ),
    "a scope by its place": (
        '@pytest.fixture("module")\ndef user():\n    return create_user(username="bob")',
        "a wider scope",
    ),
    "a wider scope in a file that knows the fixture": (
        'def test(unique_name): ...\n@pytest.fixture(scope="session")\ndef user():\n'
        '    return create_user(username="bob")',
        "a wider scope",
    ),
    "unittest": (
        'class TestX(unittest.TestCase):\n    def test(self):\n        create_user(username="bob")',
        "take no fixtures",
    ),
    "an unknown base": (
        'class TestX(Base):\n    def test(self):\n        create_user(username="bob")',
        "may be a test case",
    ),
    "a class that is not collected": (
        'class Users:\n    def test(self):\n        create_user(username="bob")',
        "pytest collects no tests",
    ),
    "an unknown decorator": ('@given(x=1)\ndef test(x):\n    create_user(username="bob")', "decorator given"),
    "parametrize": (
        '@pytest.mark.parametrize("name", ["bob"])\ndef test(name):\n    create_user(username=name)',
        "outside of the tests",
    ),
    "a longer text": ("""def test(c):\n    c.post("/u", data='{"username": "bob"}')""", "part of a longer text"),
    "a loop": ('def test():\n    for n in ("a", "b"):\n        create_user(username=n)', "a loop goes over it"),
    "text in which it stands": (
        'def test(c):\n    create_user(username="Bob")\n    assert "Welcome, bob" in c.get("/").text',
        "line 3 has it inside",
    ),
    "an f-string in which it stands": (
        'def test(c):\n    create_user(username="bob")\n    assert c.get(f"/users/bob/{n}")',
        "line 3 has it inside",
    ),
    "another meaning": (
        'def test(c):\n    create_user(username="test")\n    c.get("/", mode="test")',
        "another meaning",
    ),
    "bytes of it": ('def test(redis):\n    redis.set("a", 1)\n    assert redis.get("a") == b"a"', "another meaning"),
    "a key that is a value": ('def test(redis):\n    redis.set("a", "a")\n    redis.get("a")', "another meaning"),
    "a helper that knows it": (
        'def check(u):\n    assert u.name == "bob"\ndef test():\n    check(create_user(username="bob"))',
        "line 2, outside of the test",
    ),
    "a test that knows a fixture's": (
        '@pytest.fixture\ndef user():\n    return create_user(username="bob")\n'
        'def test(user):\n    assert user.name == "bob"',
        "line 5, outside of the fixture",
    ),
    "a name of the file's own": (
        'unique_name = make\ndef test():\n    create_user(username="bob")',
        "this file's own",
    ),
    "a file that only others read": ('def test():\n    open("image.png", "w")\n    serve()', "never mentions it again"),
    "a file that is only tidied up": (
        'def test():\n    open("image.png", "w")\n    serve()\n    os.remove("image.png")',
        "never mentions it again",
    ),
    "a port that only others know": ("def test():\n    uvicorn.run(app, port=8080)", "never mentions it again"),
    "a key that only others read": (
        'def test(redis):\n    redis.set("flag", 1)\n    call()',
        "never mentions it again",
    ),
    "a directory above": (
        'def test():\n    open("/tmp/a/b", "w")\n    open("/tmp/a/b")',
        "directories above it",
    ),
    "SQL": ('def test(c):\n    c.execute("CREATE SCHEMA billing")', "drop the statement"),
    "a service": ('def test():\n    requests.get("http://localhost:80")', "take the address from the environment"),
    "an annotation in brackets": ('def test(a: (int)):\n    create_user(username="bob")', "in brackets"),
}


@pytest.mark.parametrize(("code", "expected"), LEFT.values(), ids=LEFT)
def test_what_is_not_sure_is_left_and_says_why(code: str, expected: str) -> None:
    assert expected in obstacle(code)


def test_a_file_whose_lines_libcst_reads_otherwise_stays() -> None:
    code = 'def test(\r    a,\r):\r    create_user(username="bob")\r'
    assert "exactly" in obstacle(code)


def test_others_may_rely_on_the_fixtures_of_a_shared_file() -> None:
    code = '@pytest.fixture\ndef user():\n    return create_user(username="bob")\n'
    assert obstacle(code, shared=True) == "tests in other files may rely on it"
    assert b"unique_name" in examine(code.encode(), fix=True).data
