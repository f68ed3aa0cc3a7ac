"""The label that a lease's things bear on the server, where they can: a comment on a schema, a value of a key.

It says whose they are and until when: `harness lease=TOKEN run=RUN project=ID until=EPOCH`. What bears no such label
was not made here, whatever its name is.
"""

import re
from typing import NamedTuple

from harness.isolation.lease import TERM, Context, Lease

FOREVER = 9_999_999_999  # wall time: in the year 2286
_LABEL = re.compile(r"harness lease=([0-9a-f]{12}) run=(\S+) project=([0-9a-f]+) until=(\d+)")


class Label(NamedTuple):
    token: str
    run_id: str
    project_id: str
    until: int  # wall time of the server

    def __str__(self) -> str:
        return f"harness lease={self.token} run={self.run_id} project={self.project_id} until={self.until}"

    def is_over(self, now: float) -> bool:
        return now > self.until


def label_of(lease: Lease, context: Context, now: float) -> Label:
    """The label of a lease that is good from now on for another TERM; of a kept one, for ever.

    `now` is the wall time of the server, so that the clocks of the machines that use it need not agree.
    """
    until = FOREVER if lease.kept else int(now + TERM)
    return Label(lease.token, lease.run_id, context.project_id, until)


def read_label(text: str | None) -> Label | None:
    """The label in a text that anybody may have written; None: it is none."""
    found = _LABEL.fullmatch(text or "")
    return Label(found[1], found[2], found[3], int(found[4])) if found else None
