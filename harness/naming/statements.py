"""Names in SQL that the whole server knows: schemas, databases, roles, and tables where nothing sets them apart.

Protocol: `statements(source, values)` yields a Hit for each one in a text that is executed. None is ever replaced: a
schema that is leased exists already, so the statement has to go rather than its name.
"""

import re
from collections.abc import Iterator

import libcst as cst

from harness.naming import Kind
from harness.naming.calls import Hit, mocked, positional, refused, strings, taken, unreal
from harness.naming.tree import Source
from harness.naming.values import Fixed, Values, dotted

EXECUTING = re.compile(r"(execute|executemany|executescript|fetch\w*|run_sql|text|SQL|exec_driver_sql)\Z")
WORD = r'(?:"(?P<quoted>[^"{}%]+)"|(?P<plain>[A-Za-z_][\w$]*))'
SHARED = re.compile(
    rf"^\s*(?P<verb>(?:CREATE|DROP)\s+(?:SCHEMA|DATABASE|ROLE|USER))\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?"
    rf"(?!AUTHORIZATION\b|IF\b){WORD}(?![{{%.\w])",
    re.IGNORECASE | re.MULTILINE,
)
SEARCH_PATH = re.compile(
    rf"^\s*(?P<verb>SET\s+search_path)\s*(?:TO|=)\s*{WORD}(?![{{%.\w])", re.IGNORECASE | re.MULTILINE
)
TABLE = re.compile(
    rf"^\s*(?P<verb>CREATE\s+(?:UNLOGGED\s+)?TABLE)\s+(?:IF\s+NOT\s+EXISTS\s+)?(?!IF\b){WORD}(?![{{%.\w])",
    re.IGNORECASE | re.MULTILINE,
)
POSTGRES = ("psycopg", "psycopg2", "asyncpg", "pg8000")
APART = {"postgres_schema", "postgres_dsn", "transaction"}  # fixtures with which a table is the test's own
OWN = {"public", "pg_catalog", "default", "current_user", "session_user", "if"}

WHY = "the server has one of that name for all tests"
OBSTACLE = "the leased schema is there already: drop the statement rather than its name"


def statements(source: Source, values: Values) -> Iterator[Hit]:
    """The fixed names in the SQL of one file."""
    if mocked(source):
        return
    tables = source.imports(*POSTGRES)
    for call in source.all(cst.Call):
        given = positional(call)
        if not given or not EXECUTING.match(dotted(call.func).rpartition(".")[2]) or unreal(call):
            continue
        apart = bool(APART & taken(source, call))
        for text in strings(values, given[0]):
            for name in _names(text.text, tables=tables and not apart):
                if not refused(source, call):
                    yield Hit(Kind.SQL, Fixed(name, text.node, False), call, WHY, "postgres_schema", OBSTACLE)


def _names(sql: str, *, tables: bool) -> Iterator[str]:
    patterns = [SHARED, SEARCH_PATH, *([TABLE] if tables else [])]
    for pattern in patterns:
        for match in pattern.finditer(sql):
            name = match["quoted"] or match["plain"]
            if name.lower() not in OWN:
                yield name
