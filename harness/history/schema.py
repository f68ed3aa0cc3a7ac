"""The tables of the history (docs/history.md describes them to their readers).

Columns are called as the fields of the nouns in past.py. A change here needs a new VERSION: a file of another version
is never read as if it were of this one.
"""

import msgspec

from harness.model import Status, TestStatus

VERSION = 1
APPLICATION = 0x48524E53  # "HRNS", so that another program's database is not taken for ours


def quoted_columns(noun: type[msgspec.Struct], without: frozenset[str] = frozenset()) -> list[str]:
    """The names of a noun's fields, quoted: some of them are words of SQL."""
    return [f'"{name}"' for name in noun.__struct_fields__ if name not in without]


def _one_of(statuses: type[Status] | type[TestStatus]) -> str:
    return ", ".join(f"'{status.value}'" for status in statuses)


TABLES = {
    "runs": """
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        run_id TEXT NOT NULL,
        started_at REAL NOT NULL,
        "commit" TEXT NOT NULL,
        dirty INTEGER NOT NULL,
        host TEXT NOT NULL,
        cores INTEGER NOT NULL,
        jobs INTEGER NOT NULL,
        seed INTEGER NOT NULL,
        shard TEXT NOT NULL,
        environment TEXT NOT NULL,
        duration REAL NOT NULL,
        exit_code INTEGER NOT NULL,
        stopped_by TEXT NOT NULL,
        sequential_time REAL NOT NULL,
        lower_bound REAL NOT NULL,
        predicted REAL,
        services_seconds REAL NOT NULL,
        wind_down REAL NOT NULL,
        "groups" INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        whole INTEGER NOT NULL
    """,
    "group_runs": f"""
        "group" TEXT NOT NULL,
        run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        started_at REAL NOT NULL,
        duration REAL NOT NULL,
        slot INTEGER NOT NULL,
        status TEXT NOT NULL CHECK (status IN ({_one_of(Status)})),
        attempts INTEGER NOT NULL,
        cpu_seconds REAL NOT NULL,
        peak_memory INTEGER NOT NULL,
        partial INTEGER NOT NULL,
        quarantined INTEGER NOT NULL,
        waited REAL NOT NULL,
        error TEXT NOT NULL,
        complete INTEGER NOT NULL,
        PRIMARY KEY ("group", run)
    """,
    "unrun": f"""
        "group" TEXT NOT NULL,
        run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        status TEXT NOT NULL CHECK (status IN ({_one_of(Status)})),
        PRIMARY KEY ("group", run)
    """,
    "test_names": """
        id INTEGER PRIMARY KEY,
        "group" TEXT NOT NULL,
        test TEXT NOT NULL,
        UNIQUE ("group", test)
    """,
    "test_runs": f"""
        name INTEGER NOT NULL REFERENCES test_names,
        run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        attempt INTEGER NOT NULL,
        status TEXT NOT NULL CHECK (status IN ({_one_of(TestStatus)})),
        duration REAL NOT NULL,
        error TEXT NOT NULL,
        cpu_seconds REAL,
        memory_growth INTEGER,
        PRIMARY KEY (name, run, attempt)
    """,
    "errors": """
        hash TEXT PRIMARY KEY,
        example TEXT NOT NULL
    """,
    "fingerprints": """
        "group" TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        parts TEXT NOT NULL,
        run TEXT NOT NULL,
        at REAL NOT NULL
    """,
}
# Found by these alone, so they are stored in the order of their keys.
_CLUSTERED = {"group_runs", "unrun", "test_runs", "errors", "fingerprints"}
# By run: for pruning. By error: to know which errors nothing has any more.
_INDEXES = (
    "CREATE INDEX group_runs_run ON group_runs (run)",
    "CREATE INDEX unrun_run ON unrun (run)",
    "CREATE INDEX test_runs_run ON test_runs (run)",
    "CREATE INDEX group_runs_error ON group_runs (error) WHERE error <> ''",
    "CREATE INDEX test_runs_error ON test_runs (error) WHERE error <> ''",
)

CREATE = [
    *(f"CREATE TABLE {name} ({body}){' WITHOUT ROWID' * (name in _CLUSTERED)}" for name, body in TABLES.items()),
    *_INDEXES,
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
]
