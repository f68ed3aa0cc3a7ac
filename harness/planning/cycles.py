"""Cycles in a graph of names."""

from collections.abc import Iterable, Iterator, Mapping


def find_cycles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Cycles as closed paths ["a", "b", "a"]: at least one for every knot of names, and few of them.

    A depth-first search with a stack of its own, as chains may be longer than Python's: a name met again while it is
    still on the path closes a cycle. Targets that are no key of `edges` are ignored.
    """
    done: set[str] = set()
    reported: set[str] = set()
    cycles: list[list[str]] = []
    for start in edges:
        if start in done:
            continue
        path: dict[str, Iterator[str]] = {start: iter(edges[start])}  # in order: the way from start to here
        while path:
            here = next(reversed(path))
            target = next(path[here], None)
            if target is None:
                done.add(here)
                del path[here]
            elif target in path:
                if target not in reported and here not in reported:
                    names = list(path)
                    cycles.append([*names[names.index(target) :], target])
                    reported.update(cycles[-1])
            elif target in edges and target not in done:
                path[target] = iter(edges[target])
    return cycles
