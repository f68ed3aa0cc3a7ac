"""The label that a lease's things bear on the server, where they can: a comment on a schema, a value of a key.

It says whose they are and until when: `harness lease=TOKEN run=RUN project=ID until=EPOCH`. What bears no such label
was not made here, whatever its name is.
"""

import re
import time
from typing import NamedTuple

from harness.isolation.lease import TERM, Context, Lease

_LABEL = re.compile(r"harness lease=([0-9a-f]{12}) run=(\S+) project=([0-9a-f]+) until=(\d+)")


class Label(NamedTuple):
    token: str
    run_id: str
    project_id: str
    until: int  # wall time

    def __str__(self) -> str:
        return f"harness lease={self.token} run={self.run_id} project={self.project_id} until={self.until}"

    @property
    def is_over(self) -> bool:
        return time.time() > self.until


def label_of(lease: Lease, context: Context) -> Label:
    """The label of a lease that is good from now on for another TERM."""
    return Label(lease.token, lease.run_id, context.project_id, int(time.time() + TERM))


def read_label(text: str | None) -> Label | None:
    """The label in a text that anybody may have written; None: it is none."""
    found = _LABEL.fullmatch(text or "")
    return Label(found[1], found[2], found[3], int(found[4])) if found else None
