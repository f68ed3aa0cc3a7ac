"""Reads the SQL of one schema with pg_dump, so that it can be run by any client.

pg_dump writes for psql: around the SQL stand settings of the session and psql's own commands, which are left out here.
Rows are INSERTs, since COPY needs psql as well. A pg_dump older than the server refuses to work, so one is looked for
that is not, wherever systems or the wheel have put it.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InfrastructureError
from harness.installations import VARIABLE, postgres_directories
from harness.isolation.lease import Context
from harness.process import ToolError, run_tool

_TIMEOUT = 300.0  # seconds
_BEGIN = "-- Name: "  # of the comment above the first thing
_END = "-- PostgreSQL database dump complete"


def dumped_schema(address: str, password: str, schema: str, version: int, context: Context) -> str:
    """The SQL that makes what is in the schema, without the schema itself and without owners.

    Raises InfrastructureError.
    """
    program = find_pg_dump(version, context)
    argv = [program, f"--dbname={address}", f"--schema={schema}", "--no-owner", "--no-privileges", "--inserts"]
    argv += ["--rows-per-insert=500", "--no-publications", "--no-subscriptions", "--no-security-labels"]
    # Not as an argument: everybody on this machine could read it there.
    env = {**context.variables, "PGPASSWORD": password, "LC_ALL": "C"}
    env.pop("PGOPTIONS", None)
    try:
        written = run_tool(argv, env=env, timeout=_TIMEOUT, stop=context.stopping)
    except ToolError as error:
        raise InfrastructureError(f"the migrated schema could not be read: {error.message}") from error
    return _plain(written, schema)


def _plain(written: str, schema: str) -> str:
    """What pg_dump wrote, without what is for psql and without the schema itself, whose comment is a lease's label."""
    begin, end = written.find(_BEGIN), written.rfind(_END)
    if begin < 0 or end < begin:
        raise InfrastructureError("the migrated schema could not be read: pg_dump wrote something unexpected")
    sql = written[begin:end]
    own = rf"^(CREATE SCHEMA {schema};|COMMENT ON SCHEMA {schema} IS 'harness [^']*';)$"
    sql = re.sub(own, "", sql, flags=re.MULTILINE)
    return f"SELECT pg_catalog.set_config('search_path', '', true); SET LOCAL xmloption = content;\n{sql}"


def find_pg_dump(version: int, context: Context) -> str:
    """The path of a pg_dump for a server of that major version: the same one if possible, else the next.

    Raises InfrastructureError where there is none.
    """
    found: dict[int, str] = {}
    for program in _candidates(context.variables.get("PATH", os.defpath), context.variables.get(VARIABLE, "")):
        try:
            said = run_tool([program, "--version"], timeout=10)
        except ToolError:
            continue  # a broken one says nothing about the others
        if number := re.search(r"\) (\d+)", said):
            found.setdefault(int(number[1]), program)
        if version in found:
            return found[version]
    newer = min((number for number in found if number > version), default=None)
    if newer is not None:
        return found[newer]
    older = f"only older ones: {', '.join(sorted(found.values()))}" if found else "none"
    raise InfrastructureError(
        f"found no pg_dump for PostgreSQL {version}, which templates of schemas need: {older}",
        f"Install the client programs of PostgreSQL {version} or later, set {VARIABLE} to their directory, "
        'or take `make = "database"`, which needs none.',
    )


def _candidates(path: str, chosen: str) -> Iterator[str]:
    directories = [Path(chosen)] if chosen else []
    for directory in (*directories, *postgres_directories("pg_dump", path)):
        if program := shutil.which("pg_dump", path=str(directory)):
            yield program
