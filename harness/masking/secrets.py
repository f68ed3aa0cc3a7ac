"""The secrets of a run, and masking them. Thread-safe.

Finding one of many strings in gigabytes, in Python: each form is known by an *anchor*, one of its first bytes, chosen
so that few bytes serve all forms, and rare ones rather than common ones. Whether a byte is in 64 KiB at all costs half
a microsecond; where it is, a regular expression of that byte and of those that may follow finds the places at which
forms are compared. An alternation of all forms would try each of them at each byte, and take a hundred times as long.

A stream holds back what may be the beginning of a form, and no more: forms that reach beyond the end are met at their
anchors as well; those of which not even the anchor has come are looked for in the last few bytes.
"""

import re
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from harness.errors import HarnessError, PlanError
from harness.masking.choice import passwords_in, secret_values
from harness.masking.forms import SHORTEST, forms_of

MASK = "***"

_DEEPEST = 24  # bytes of a form, among which its anchor is
_KEY = SHORTEST  # bytes from the anchor on, by which its forms are found
_WINDOW = _DEEPEST + _KEY - 2  # bytes at the end, in which a form may have begun whose anchor's key is not whole
_CROWD = 8  # forms of one key: where there are as many, another one is looked for
_HEAD = 2  # bytes of a form, by which it is found there
_RARE = b"QZXJKVWYqzjUHFPBMGNxkvCLODRIwbySAT"  # from the rarest in logs on; digits and the other letters are common

_Span = tuple[int, int]  # from, to; beyond the end where the rest of it may still come


class Secrets:
    """Masks what it has learned. Of forms that overlap, the leftmost is masked, of those the longest."""

    def __init__(self, listed: Collection[str] | None = None) -> None:
        """`listed`: names of variables, or patterns of names; None: their names are guessed."""
        self.listed = listed
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._refused: dict[str, bool] = {}  # variables whose values are too short to be masked: whether that was told
        self._forms: set[bytes] = set()
        self._anchors: tuple[tuple[bytes, re.Pattern[bytes]], ...] = ()
        self._followers: dict[int, list[set[int]]] = {}  # by anchor: what may stand at each place after it
        self._by_key: dict[bytes, tuple[tuple[int, bytes], ...]] = {}  # the forms, and where in each the key is
        self._by_head: dict[bytes, tuple[bytes, ...]] = {}  # sorted
        self._first: frozenset[int] = frozenset()  # bytes with which forms begin
        self._inner: frozenset[int] = frozenset()  # bytes after which a form may go on

    @property
    def is_empty(self) -> bool:
        return not self._anchors

    def learn(self, variables: Mapping[str, str]) -> None:
        """The secrets among the variables of a run, a group or a service."""
        self._learn(secret_values(variables, self.listed))

    def learn_given(self, variables: Mapping[str, str], secret: Iterable[str]) -> None:
        """The values of those variables are `secret`; of an address with a password in it, the password."""
        self._learn((name, part) for name in secret for part in passwords_in(variables[name]) or (variables[name],))

    def warnings(self) -> list[str]:
        """What people should know of what cannot be masked, each told once."""
        with self._lock:
            fresh = [name for name, is_told in self._refused.items() if not is_told]
            self._refused.update(dict.fromkeys(fresh, True))
        return [f"the value of {name} is not masked: it has fewer than {SHORTEST} characters" for name in fresh]

    def text(self, text: str) -> str:
        """The text, masked."""
        if not self._anchors or not text:
            return text
        errors = "surrogateescape"
        try:
            data = text.encode(errors=errors)
        except UnicodeEncodeError:
            errors = "surrogatepass"
            data = text.encode(errors=errors)
        masked, _ = _replaced(data, self._spans(data))
        return text if masked is data else masked.decode(errors=errors)

    def error(self, error: HarnessError) -> HarnessError:
        """The error, with all that it says masked."""
        error.message, error.cure = self.text(error.message), self.text(error.cure)
        if isinstance(error, PlanError):
            error.problems = [self.text(problem) for problem in error.problems]
        return error

    # --- learning

    def _learn(self, found: Iterable[tuple[str, str]]) -> None:
        with self._lock:
            forms: set[bytes] = set()
            for name, value in found:
                if value and len(value) < SHORTEST:
                    self._refused.setdefault(name, False)
                elif value and value not in self._known:
                    self._known.add(value)
                    forms |= forms_of(value)
            if forms:
                self._add(sorted(forms - self._forms))

    def _add(self, forms: list[bytes]) -> None:
        """What others read meanwhile is never changed, but replaced, the anchors last."""
        self._forms.update(forms)
        fresh: dict[bytes, list[bytes]] = {}
        for form in forms:
            fresh.setdefault(form[:_HEAD], []).append(form)
        for head, added in fresh.items():
            self._by_head[head] = tuple(sorted((*self._by_head.get(head, ()), *added)))
        self._first |= {form[0] for form in forms}
        self._inner |= {byte for form in forms for byte in form[:-1]}
        patterns = dict(self._anchors)
        for form, at in self._anchored(forms):
            key = form[at : at + _KEY]
            self._by_key[key] = (*self._by_key.get(key, ()), (at, form))
            followers = self._followers.setdefault(key[0], [set() for _ in key[1:]])
            for byte, known in zip(key[1:], followers, strict=True):
                if byte not in known:
                    known.add(byte)
                    patterns.pop(key[:1], None)
        for anchor in self._followers.keys() - {anchor[0] for anchor in patterns}:
            classes = b"".join(b"[%s]" % b"".join(b"\\x%02x" % byte for byte in it) for it in self._followers[anchor])
            patterns[bytes([anchor])] = re.compile(b"\\x%02x(?=%s)" % (anchor, classes))
        self._anchors = tuple(patterns.items())

    def _anchored(self, forms: list[bytes]) -> Iterator[tuple[bytes, int]]:
        """The forms, each with the place of its anchor: a known one, or else as few as can be found."""
        places = {form: self._places(form) for form in forms}
        chosen = list(self._followers)
        while places:
            for byte in chosen:
                for form in [form for form, known in places.items() if byte in known]:
                    yield form, places.pop(form)[byte]
            counts = Counter(byte for known in places.values() for byte in known)
            chosen = [max(counts, key=lambda byte: counts[byte] * _rarity(byte))] if counts else []

    def _places(self, form: bytes) -> dict[int, int]:
        """Where its anchor can be, by byte: not where the secrets of all leases are the same, if anywhere else."""
        places = range(min(_DEEPEST, len(form) - _KEY + 1))
        free = [at for at in places if len(self._by_key.get(form[at : at + _KEY], ())) < _CROWD]
        return {form[at]: at for at in reversed(free or places)}

    # --- finding

    def _spans(self, data: bytes, *, goes_on: bool = False) -> list[_Span]:
        """Where forms are; with `goes_on` also where one may be that the data is too short for."""
        found = []
        for anchor, pattern in self._anchors:
            if anchor in data:
                for match in pattern.finditer(data):
                    hit = match.start()
                    for at, form in self._by_key.get(data[hit : hit + _KEY], ()):
                        start, end = hit - at, hit - at + len(form)
                        if start >= 0 and (
                            data.startswith(form, start)
                            or (goes_on and end > len(data) and form.startswith(data[start:]))
                        ):
                            found.append((start, end))
        if goes_on and data and data[-1] in self._inner:
            found += self._begun(data)
        return found

    def _begun(self, data: bytes) -> Iterable[_Span]:
        last = len(data) - 1
        for start in range(max(last + 1 - _WINDOW, 0), last):
            forms = self._by_head.get(data[start : start + _HEAD], ())
            # The first that is longer than what is there comes right behind it, if there is any that begins so.
            after = bisect_right(forms, data[start:])
            if after < len(forms) and forms[after].startswith(data[start:]):
                yield start, start + len(forms[after])
        if data[last] in self._first:
            yield last, last + _HEAD


class Stream:
    """Bytes that come in pieces, masked across the pieces. Not thread-safe."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._held = b""

    @property
    def lets_all_through(self) -> bool:
        """Whether what comes next can be said as it is, without `feed`: nothing is known, and so nothing held back."""
        return self._secrets.is_empty

    def feed(self, data: bytes) -> bytes:
        """What can be said by now."""
        if self._held:
            data = self._held + data
        masked, at = _replaced(data, self._secrets._spans(data, goes_on=True))
        self._held = data[at:]
        return masked

    def close(self) -> bytes:
        """What was held back: nothing comes after it. The stream can be fed again."""
        masked, _ = _replaced(self._held, self._secrets._spans(self._held))
        self._held = b""
        return masked


def _replaced(data: bytes, spans: list[_Span]) -> tuple[bytes, int]:
    """The data with the spans masked, up to where one reaches beyond it; and where that is."""
    if not spans:
        return data, len(data)
    said: list[bytes] = []
    at = 0
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start < at:
            continue
        if end > len(data):
            said.append(data[at:start])
            return b"".join(said), start
        said += (data[at:start], MASK.encode())
        at = end
    said.append(data[at:])
    return b"".join(said), len(data)


def _rarity(byte: int) -> float:
    """How well a byte serves as an anchor, as far as that can be known of any log."""
    place = _RARE.find(byte)
    return 1 / (8 + place) if place >= 0 else 0.001
