"""The forms in which a secret appears: as it is, and as programs encode it. Pure.

Base64 has three, by where in the encoded text the secret begins (in `Basic …` it stands behind a user's name); of each
those letters count that depend on the secret alone. Of a secret of several lines each line is one as well, because logs
indent and prefix lines; and so is each line of its base64, which tools wrap.
"""

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

SHORTEST = 4  # characters: what is shorter is in half of all words

_WRAPPED = (64, 76)  # letters in a line of base64, as openssl and everybody else have it
_SHORTEST_PIECE = 8  # letters of base64 in a line of its own
_UNRESERVED = "!'()*~"  # what JavaScript's encodeURIComponent leaves as it is
_TELLING = 16  # characters of a secret in a row that are too many to show: the first few say what it is, not which
_FENCE = "-----"  # of PEM


def forms_of(secret: str) -> frozenset[bytes]:
    """All forms of a secret, none shorter than four bytes."""
    found = {*_escaped(secret), *_base64(to_bytes(secret))}
    for line in secret.splitlines():
        line = line.strip()
        if len(line) >= SHORTEST and not line.startswith(_FENCE) and any(map(str.isalnum, line)):
            found.update(_escaped(line))
    return frozenset(form for form in found if len(form) >= SHORTEST)


def gives_away(text: str, secret: str) -> bool:
    """Whether the text holds a form of the secret, or 16 bytes in a row of one."""
    data, plain = to_bytes(text), to_bytes(secret)
    return any(
        form[at : at + _TELLING] in data
        for form in {*forms_of(secret), plain, quote(plain, safe="").encode(), base64.b64encode(plain)}
        for at in range(max(len(form) - _TELLING, 0) + 1)
    )


def to_bytes(text: str) -> bytes:
    """As it stands in a log."""
    # Variables come with surrogates for what is no UTF-8; others than those only a JSON answer can hold.
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def _escaped(secret: str) -> Iterator[bytes]:
    data = to_bytes(secret)
    yield data
    in_json, in_ascii = json.dumps(secret, ensure_ascii=False)[1:-1], json.dumps(secret)[1:-1]
    texts = {
        in_json,
        in_ascii,
        in_ascii.replace("/", "\\/"),  # PHP
        re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", in_json),  # Go
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        secret.encode("unicode_escape").decode(),  # pytest, in the id of a test
        repr(data)[2:-1],
        *_in_html(secret),
        secret.replace("'", "'\"'\"'"),  # in a command line that Python quoted
        secret.replace("'", "'\\''"),  # … and bash
    }
    urls = {quote(data), quote(data, safe=""), quote(data, safe=_UNRESERVED), quote_plus(data)}
    urls |= {re.sub("%..", lambda found: found[0].lower(), url) for url in urls}
    yield from map(to_bytes, texts | urls)
    if "\n" in secret and "\r" not in secret:
        yield to_bytes(secret.replace("\n", "\r\n"))


def _in_html(secret: str) -> Iterator[str]:
    """Also in XML; quotes are escaped where they must be, and in several ways."""
    plain = html.escape(secret, quote=False)
    yield plain
    for single in ("'", "&#x27;", "&#39;", "&apos;"):
        for double in ("&quot;", "&#34;"):
            yield plain.replace("'", single).replace('"', double)


def _base64(data: bytes) -> Iterator[bytes]:
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data)
        # Six bits a letter: the first and the last may be shared with what stands beside the secret.
        inside = encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        for form in (inside, encoded, encoded.rstrip(b"=")) if not before else (inside,):
            yield form
            yield form.translate(bytes.maketrans(b"+/", b"-_"))
        for width in _WRAPPED if not before and len(encoded) > min(_WRAPPED) else ():
            lines = (encoded[at : at + width] for at in range(0, len(encoded), width))
            yield from (line for line in lines if len(line) >= _SHORTEST_PIECE)
