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
        'def test_it(c):\n    create_user(username="test")\n    c.get("/", mode="test")',
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
    assert obstacle(code) == "tests in other files may rely on it"  # there is no test in it
    assert b"unique_name" in examine(f"{code}def test(user): ...".encode(), fix=True).data


BINDINGS = {
    "a pair": "unique_name, x = 1, 2",
    "a loop": "for x, unique_name in y: pass",
    "with": "with x as (unique_name, y): pass",
    "a case": "match x:\n        case unique_name: pass",
    "a star in a case": "match x:\n        case [*unique_name]: pass",
    "the rest of a case": "match x:\n        case {**unique_name}: pass",
    "a walrus": "print(unique_name := 1)",
    "an import": "import unique_name",
    "an import of a part": "from x import y as unique_name",
    "del": "del unique_name",
    "global": "global unique_name",
    "an exception": "try: pass\n    except E as unique_name: pass",
    "a function": "def unique_name(): pass",
    "a class": "class unique_name: pass",
    "a comprehension": "[unique_name for unique_name in y]",
    "a lambda": "lambda unique_name: 1",
    "a function's parameter": "def f(unique_name): pass",
}


@pytest.mark.parametrize("line", BINDINGS.values(), ids=BINDINGS)
@pytest.mark.parametrize("parameter", ["", "unique_name"])
def test_a_name_that_the_test_binds_is_no_fixture(line: str, parameter: str) -> None:
    if parameter and "global" in line:
        parameter = ""  # Python would refuse it
    code = f'def test({parameter}):\n    {line}\n    create_user(username="bob")'
    assert "this file's own" in obstacle(code)


CALLED = {
    "a test calls it": "def test_b(api):\n    test_a(api)",
    "it is handed on": "again = test_a",
    "a method is called": "class TestB:\n    def test(self):\n        self.test_a(1)",
    "by its name": 'getattr(module, "test_a")(1)',
}


@pytest.mark.parametrize("other", CALLED.values(), ids=CALLED)
def test_what_somebody_calls_takes_no_new_parameter(other: str) -> None:
    assert "refers to it" in obstacle(f'def test_a(api):\n    create_user(username="bob")\n{other}')


DERIVED = {
    "a slug": ("Acme Corp", 'assert made.slug == "acme-corp"'),
    "a part": ("Acme Corp", 'assert "Acme" in made.text'),
    "a first letter": ("Acme Corp", 'assert made.initial == "A"'),
    "without accents": ("Jürgen", 'assert made.slug == "jurgen"'),
    "a run in a longer text": ("Acme Corp", "assert made.text.endswith('*acme*')"),
    "in an f-string": ("Acme Corp", 'assert made.url == f"{base}/acme/"'),
    "its length": ("bob", "assert made.length == 3"),
    "len of it": ("bob", 'assert len("bob") < n'),
    "len of what it went into": ("bob", "name = made.name\n    assert len(name) < n"),
    "the user of an address": ("bob@b.example", 'assert made.user == "bob"'),
    "the domain of an address": ("bob@b.example", 'assert made.domain == "b.example"'),
    "a comparison of another kind": ("bob smith", 'assert made.name < "bob smith"'),
    "an order": ("bob", 'create_user(username="zed")\n    assert made.names == sorted(names)'),
}


@pytest.mark.parametrize(("name", "line"), DERIVED.values(), ids=DERIVED)
def test_what_could_be_made_of_the_value_keeps_it(name: str, line: str) -> None:
    code = f'def test():\n    made = create_user(username="{name}")\n    {line}\n'.encode()
    assert examine(code, fix=True).data == code


STRANGERS = {
    "a part of the key is asked for": 'service.basket(1)\n    assert redis.get("cart:1")',
    "someone may know the key": 'service.refresh()\n    assert redis.get("cart:1")',
    "a pattern": 'redis.scan(match="c*")\n    assert redis.get("cart:1")',
    "all keys": 'redis.keys()\n    assert redis.get("cart:1")',
}


@pytest.mark.parametrize("lines", STRANGERS.values(), ids=STRANGERS)
def test_a_key_that_others_may_look_for_stays(lines: str) -> None:
    assert obstacle(f'def test(redis, service):\n    redis.set("cart:1", 1)\n    {lines}')


PLACES = [
    'assert "a b.txt" in os.listdir(".")',
    'assert open("a b.txt")\n    os.listdir()',
    'assert p.name == "a b.txt"',
]


@pytest.mark.parametrize("lines", [*PLACES, 'load()\n    assert open("a b.txt")'])
def test_a_path_that_is_looked_for_elsewhere_stays(lines: str) -> None:
    assert obstacle(f'def test():\n    Path("a b.txt").write_text("x")\n    {lines}')


def test_a_parameter_of_the_tests_own_is_no_fixture() -> None:
    code = '@pytest.mark.parametrize("unique_name", ["x"])\ndef test(unique_name):\n    create_user(username="bob")'
    assert "this file's own" in obstacle(code)
    assert "a default" in obstacle('def test(unique_name="x"):\n    create_user(username="bob")')
