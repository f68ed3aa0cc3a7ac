"""Redis keys that are fixed, given to what writes them.

Protocol: `keys(source, values)` yields a Hit for each. A client is known by what it is made of (`redis.Redis(…)`), by
the annotation of a parameter, or by its name (`redis`, `redis_client`); every other object may be anything.
"""

import re
from collections.abc import Iterator

import libcst as cst

from harness.naming import Kind
from harness.naming.calls import Hit, mocked, positional, receiver, refused, taken, unreal
from harness.naming.tree import Source
from harness.naming.values import Values, dotted, parameters

NAMED = re.compile(r"(a?redis|redis_(client|conn|connection|db)|(client|conn)_redis|\w+_redis)\Z")
MADE_BY = re.compile(
    r"((a?redis|redis\.asyncio|aioredis)\.)?(Strict)?Redis(\.from_url)?\Z|(a?redis|aioredis)\.from_url\Z"
)
WRITING = {"set", "setex", "setnx", "psetex", "getset", "append", "incr", "incrby", "incrbyfloat", "decr", "decrby"}
WRITING |= {"hset", "hsetnx", "hmset", "hincrby", "lpush", "rpush", "lpop", "rpop", "sadd", "srem", "zadd", "zincrby"}
WRITING |= {"xadd", "setbit", "pfadd", "geoadd", "delete", "unlink", "expire", "setrange", "xgroup_create", "lock"}

WHY = "tests that run at once on one Redis write over one another"


def keys(source: Source, values: Values) -> Iterator[Hit]:
    """The fixed keys of one file."""
    if mocked(source):
        return
    made = _clients(source)
    for call in source.all(cst.Call):
        if not isinstance(call.func, cst.Attribute) or call.func.attr.value not in WRITING:
            continue
        owner = receiver(call)
        if not (
            owner in made or (NAMED.match(owner.rpartition(".")[2]) and owner not in ("redis", "aioredis"))
        ) and not (owner == "redis" and "redis" in taken(source, call)):
            continue
        given = positional(call)
        fixed = values.fixed(given[0]) if given else None
        if fixed and not isinstance(fixed.node, cst.Integer) and not unreal(call) and not refused(source, call):
            yield Hit(Kind.KEY, fixed, call, WHY, "redis_prefix")


def _clients(source: Source) -> set[str]:
    """The names under which the file has clients."""
    names = set[str]()
    for assign in source.all(cst.Assign):
        value = assign.value.expression if isinstance(assign.value, cst.Await) else assign.value
        if isinstance(value, cst.Call) and MADE_BY.match(dotted(value.func)):
            names |= {dotted(target.target) for target in assign.targets}
    for function in source.all(cst.FunctionDef):
        for parameter in parameters(function):
            if parameter.annotation and MADE_BY.match(source.code(parameter.annotation.annotation).partition("[")[0]):
                names.add(parameter.name.value)
    return names - {""}
