"""JSON that anybody may have written, or that a crash may have torn: read into nouns, or refused, whatever it is."""

from typing import TypeVar

import msgspec

T = TypeVar("T")


def decoded(decoder: msgspec.json.Decoder[T], data: bytes | str) -> T:
    """Raises ValueError for anything that the decoder does not take: no JSON, no UTF-8, no such noun, too deep."""
    try:
        return decoder.decode(data)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None
