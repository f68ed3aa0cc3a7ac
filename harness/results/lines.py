"""Bytes in pieces of any size into lines, of which no more than 1 MiB is ever kept."""

from collections.abc import Iterator

LONGEST_LINE = 1024 * 1024


class Lines:
    """Feed it all bytes in order. What stands after the last newline is no line yet: see `rest`."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._is_cut = False

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """The lines that `data` completes, without their newlines, each with whether it was cut at 1 MiB."""
        first, *others = data.split(b"\n")
        self._append(first)
        for piece in others:
            yield self.rest()
            self._append(piece)

    def rest(self) -> tuple[bytes, bool]:
        """What has come of the last line so far. It is forgotten here."""
        line, is_cut = bytes(self._line), self._is_cut
        self._line.clear()
        self._is_cut = False
        return line, is_cut

    def _append(self, piece: bytes) -> None:
        room = LONGEST_LINE - len(self._line)
        self._is_cut = self._is_cut or len(piece) > room
        self._line += piece[:room]
