"""Foreign text made fit to keep: names of one line, messages of one line, details of a bounded size."""

LONGEST_NAME = 1000  # characters
LONGEST_MESSAGE = 2000
MOST_DETAILS = 64 * 1024
LONGEST_SPAN = 1e9  # seconds


def span_of(seconds: float) -> float:
    """A duration that some clock may have measured: of one that cannot be, nothing is known."""
    return seconds if 0 < seconds <= LONGEST_SPAN else 0.0


def name_of(text: str) -> str:
    """A test's name as one line in which everything is visible, cut where it is long."""
    name = visible(text.strip()[: LONGEST_NAME + 1])
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def visible(text: str) -> str:
    """One line, with escapes for what cannot be seen; so it has no lone surrogates, which JSON cannot hold."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def message_of(text: str) -> str:
    """The first line of a text that has anything in it."""
    line = next((line for line in text[: 4 * LONGEST_MESSAGE].splitlines() if line.strip()), "").strip()
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"


class Excerpt:
    """A text that comes in pieces, of which the beginning and the end are kept: 64 Ki characters together."""

    def __init__(self, text: str = "") -> None:
        self._head = ""
        self._tail = ""
        self._left_out = 0
        self.add(text)

    def add(self, text: str) -> None:
        half = MOST_DETAILS // 2
        room = half - len(self._head)
        if room > 0:
            self._head += text[:room]
            text = text[room:]
        self._tail += text
        # Cut only now and then, or a flood of short pieces would copy the whole tail for each.
        if len(self._tail) > 2 * half:
            self._cut()

    def _cut(self) -> None:
        beyond = len(self._tail) - MOST_DETAILS // 2
        if beyond > 0:
            self._left_out += beyond
            self._tail = self._tail[beyond:]

    def __str__(self) -> str:
        self._cut()
        gap = f"\n… {self._left_out} characters left out …\n" if self._left_out else ""
        return self._head + gap + self._tail
