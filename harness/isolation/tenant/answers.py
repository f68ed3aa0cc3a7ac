"""JSON answers of an API: a value by its path, the shape of the whole, and all of it flattened. Pure.

A path is names and list positions with dots between them, as `keys.0.secret`. An answer may be anything, so nothing
here recurses as deep as an answer does.
"""

import json
from collections.abc import Iterator
from typing import Any

_DEPTH, _WIDTH, _NAME = 4, 12, 40  # how much of an answer's shape is shown


def pick(answer: Any, path: str) -> Any:
    """The value at a path. Raises LookupError where there is none."""
    for part in path.split("."):
        if isinstance(answer, dict) and part in answer:
            answer = answer[part]
        elif isinstance(answer, list) and part.isascii() and part.isdigit() and len(part) < 9:
            answer = answer[int(part)]
        else:
            raise LookupError(path)
    return answer


def shape(answer: Any, depth: int = 0) -> str:
    """What an answer looks like, without its values: `{"keys": [2 × {"secret": string}]}`. Short, whatever it is."""
    if isinstance(answer, dict):
        if depth == _DEPTH:
            return "{…}"
        items = [f"{json.dumps(name[:_NAME])}: {shape(answer[name], depth + 1)}" for name in list(answer)[:_WIDTH]]
        return "{" + ", ".join(items + ["…"] * (len(answer) > _WIDTH)) + "}"
    if isinstance(answer, list):
        return (
            f"[{len(answer)} × {shape(answer[0], depth + 1)}]"
            if answer and depth < _DEPTH
            else "[…]"
            if answer
            else "[]"
        )
    if isinstance(answer, bool):
        return "boolean"
    return "null" if answer is None else "string" if isinstance(answer, str) else "number"


def scalar(value: Any) -> str | None:
    """A value as a variable holds it: as in JSON, a string without quotes; None where it is no single value."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else None


def same(value: Any, expected: Any) -> bool:
    """Whether they are the same, also where one of them is a string and the other is not: `true` and "True"."""
    if value == expected:
        return True
    mine, other = scalar(value), scalar(expected)
    return mine is not None and other is not None and mine.casefold() == other.casefold()


def flatten(answer: Any) -> Iterator[tuple[str, str]]:
    """Every single value of an answer, with its path. What is empty has a line, too."""
    waiting: list[tuple[str, Any]] = [("", answer)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict | list) and value:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [(f"{path}.{name}" if path else str(name), item) for name, item in items]
        else:
            yield path, json.dumps(value) if value is None or isinstance(value, dict | list) else str(scalar(value))
