"""Isolated environments: one small thing of a kind for each group, and the one place that makes and removes them.

To add a kind, write a class in a file of its own that keeps the Protocol `Kind` (lease.py), name it here, describe its
keys in planning/kinds.py, and add its world to tests/isolation/contract/.
"""

import importlib
from collections.abc import Mapping

from harness.isolation.lease import Context, Kind
from harness.isolation.options import resolved
from harness.model import Isolation

# module:class, imported when a plan uses the kind.
KINDS = {
    "tenant": "tenant.kind:Tenant",
    "postgres": "postgres.kind:Postgres",
    "redis": "redis.kind:Redis",
    "ports": "ports.kind:Ports",
    "tmpdir": "tmpdir.kind:TmpDir",
    "command": "command:Command",
}


def kind_of(entry: Isolation, context: Context, services: Mapping[str, Mapping[str, str]]) -> Kind:
    """The entry at work; `services` says where each service stands, as {"postgres": {"url": …}}.

    Connects to nothing. Raises InfrastructureError where the entry speaks of what this run does not have.
    """
    module, _, name = KINDS[entry.kind].partition(":")
    options = resolved(entry, context.variables, services)
    kind: Kind = getattr(importlib.import_module(f"harness.isolation.{module}"), name)(options, context)
    return kind
