import tomllib

import pytest

from harness.planning.locate import Lines
from harness.planning.problems import Path

TEXT = '''\
# comment with [brackets] and = signs
[run]   # one more
timeout = "5m"
env.A = "1"
env."quoted.key" = "2"
"esc\\u0061ped" = 3
many = [
    1,  # ] } "
    [2, { deep = """
x = 1
[fake]
""" , other = 4 }],
    'lit#eral',
]
text = \'\'\'
[run2]
\'\'\'
quotes = """a"""""
empty = ""
date = 1979-05-27 07:32:00

[[phases]]
name = "a"
[[phases.groups]]
name = "g0"
needs = { api = 5, "b c" = "shared" }
  [[phases.groups]]
  name = "g1"
  [phases.groups.env]
  X = "1"
[[phases]]
name = "b"
[[  phases . "groups"  ]]
name = "g0 of b"
[ isolation . tenant ]
kind = "tenant"
'''

WHERE: dict[Path, int] = {
    ("run",): 2,
    ("run", "timeout"): 3,
    ("run", "env"): 4,
    ("run", "env", "A"): 4,
    ("run", "env", "quoted.key"): 5,
    ("run", "escaped"): 6,
    ("run", "many"): 7,
    ("run", "many", 0): 8,
    ("run", "many", 1): 9,
    ("run", "many", 1, 1, "deep"): 9,
    ("run", "many", 1, 1, "other"): 12,
    ("run", "many", 2): 13,
    ("run", "text"): 15,
    ("run", "quotes"): 18,
    ("run", "empty"): 19,
    ("run", "date"): 20,
    ("phases",): 22,
    ("phases", 0, "name"): 23,
    ("phases", 0, "groups", 0, "name"): 25,
    ("phases", 0, "groups", 0, "needs", "b c"): 26,
    ("phases", 0, "groups", 1): 27,
    ("phases", 0, "groups", 1, "env", "X"): 30,
    ("phases", 1): 31,
    ("phases", 1, "groups", 0): 33,
    ("phases", 1, "groups", 0, "name"): 34,
    ("isolation",): 35,
    ("isolation", "tenant", "kind"): 36,
}


@pytest.mark.parametrize(("path", "line"), WHERE.items(), ids=str)
def test_every_way_to_write_a_key_is_located(path: Path, line: int) -> None:
    tomllib.loads(TEXT)  # the scanner is only promised good TOML
    assert Lines(TEXT).of(path) == line


def test_what_is_missing_is_located_at_the_table_around_it() -> None:
    lines = Lines(TEXT)
    assert lines.of(("phases", 0, "groups", 1, "tests", 3)) == 27
    assert lines.of(("run", "grace")) == 2
    assert lines.of(("pipeline",)) == 1


def test_inline_arrays_of_tables_are_located_by_index() -> None:
    text = 'phases = [\n  { name = "a" },\n  { name = "b", groups = [\n    { name = "c" }, ] },\n]\n'
    lines = Lines(text)
    assert [lines.of(("phases", 0, "name")), lines.of(("phases", 1, "groups", 0, "name"))] == [2, 4]


def test_nesting_deeper_than_the_stack_still_locates_the_table() -> None:
    assert Lines("[run]\n\nx = " + "[" * 20_000 + "]" * 20_000 + "\n").of(("run", "x", 0)) == 3


def test_a_thousand_tables_each_have_their_line() -> None:
    lines = Lines("".join(f'[[phases]]\nname = "{index}"\n' for index in range(1000)))
    assert all(lines.of(("phases", index, "name")) == 2 * index + 2 for index in range(1000))
