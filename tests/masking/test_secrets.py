"""Masking: every form of a secret, wherever it stands and however it comes; and nothing else."""

import base64
import html
import json
import re
import shlex
import threading
import time
import xml.sax.saxutils
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.errors import PlanError
from harness.masking import Secrets, Stream
from harness.masking.forms import forms_of

CANARY = "s3cr3t/Öl+'quoted\"&<x>"
LINES = "first line of it\n  second; line\n\n}\n-----END KEY-----\nlast-1"


def knowing(*values: str) -> Secrets:
    secrets = Secrets(["*"])
    secrets.learn({f"SECRET_{number}": value for number, value in enumerate(values)})
    return secrets


def in_pieces(secrets: Secrets, data: bytes, *sizes: int) -> bytes:
    stream, said, at = Stream(secrets), b"", 0
    for size in sizes:
        said += stream.feed(data[at : at + size])
        at += size
    return said + stream.feed(data[at:]) + stream.close()


def escaped_by_go(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" if char in "<>&" else char for char in json.dumps(text, ensure_ascii=False))


ENCODINGS = {
    "plain": str,
    "JSON": json.dumps,
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON of PHP": lambda text: json.dumps(text).replace("/", "\\/"),
    "JSON of Go": escaped_by_go,
    "JSON of bytes": lambda text: repr(text.encode()),
    "repr": repr,
    "ASCII": ascii,
    "id of a test": lambda text: text.encode("unicode_escape").decode(),
    "in a list": lambda text: repr([text]),
    "URL": quote,
    "URL, all of it": lambda text: quote(text, safe=""),
    "URL, lower-case": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
    "form": quote_plus,
    "HTML": html.escape,
    "HTML of templates": lambda text: html.escape(text, quote=False).replace("'", "&#39;").replace('"', "&#34;"),
    "XML": xml.sax.saxutils.escape,
    "attribute of XML": lambda text: xml.sax.saxutils.escape(text, {'"': "&quot;"}),
    "attribute of XML, quoted": lambda text: xml.sax.saxutils.escape(text, {'"': "&quot;", "'": "&apos;"}),
    "shell": shlex.quote,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 without padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_every_form_vanishes_whole(encode) -> None:
    secrets = knowing(CANARY)
    said = encode(f"before {CANARY} after") if encode in (str, json.dumps, html.escape) else encode(CANARY)
    assert "***" in secrets.text(f"x={said};")
    for part in ("s3cr3t", "quoted", said[3:10]):
        assert part not in secrets.text(f"x={said};")


@pytest.mark.parametrize("user", ["", "u", "us", "use", "user"])
def test_base64_of_a_pair_gives_nothing_away(user: str) -> None:
    pair = base64.b64encode(f"{user}:{CANARY}:more".encode()).decode()
    masked = knowing(CANARY).text(f"Authorization: Basic {pair}")
    kept = masked.replace("Authorization: Basic ", "")
    assert "***" in kept
    assert len(kept) <= len(base64.b64encode(f"{user}:".encode())) + len("***") + len(":more" * 2)


def test_base64_that_a_tool_has_wrapped() -> None:
    secret = "".join(f"line {number} of a long key\n" for number in range(9))
    for width in (64, 76):
        encoded = base64.b64encode(secret.encode()).decode()
        lines = [encoded[at : at + width] for at in range(0, len(encoded), width)]
        masked = knowing(secret).text("\n".join(f"    {line}" for line in lines))
        assert masked.split() == ["***"] * len(lines)


def test_each_line_of_several() -> None:
    said = knowing(LINES).text("log: first line of it\nlog:   second; line\nlog: last-1\nlog: }\n-----END KEY-----")
    assert said == "log: ***\nlog:   ***\nlog: ***\nlog: }\n-----END KEY-----"
    assert knowing(LINES).text(f"<{LINES}>") == "<***>"
    assert knowing(LINES).text("<" + LINES.replace("\n", "\r\n") + ">") == "<***>"


def test_the_longest_of_several_forms_is_masked() -> None:
    assert knowing("abcd-1", "abcd-1-and-more").text("abcd-1-and-more abcd-1") == "*** ***"
    assert knowing("left-0-right", "0-right-and-on").text("left-0-right-and-on") == "***-and-on"


def test_what_is_no_secret_stays_the_same_object() -> None:
    text = "nothing here, s3cr3 and no more"
    assert knowing(CANARY).text(text) is text
    assert Secrets().text(text) is text
    assert Secrets().is_empty
    assert not knowing(CANARY).is_empty


def test_text_that_is_no_utf8() -> None:
    secrets = knowing("caf\udce9-crème-7")
    assert secrets.text("a caf\udce9-crème-7 b \udc80") == "a *** b \udc80"
    assert in_pieces(secrets, b"a caf\xe9-cr\xc3\xa8me-7 b \xff") == b"a *** b \xff"
    assert knowing("abcd-1").text("abcd-1 \ud800") == "*** \ud800"


def test_a_stream_holds_back_no_more_than_what_may_be_a_secret() -> None:
    stream = Stream(knowing("abcd-1234"))
    assert stream.feed(b"$ prompt: ") == b"$ prompt: "
    assert stream.feed(b"see abcd-12") == b"see "
    assert stream.feed(b"35") == b"abcd-1235"
    assert stream.feed(b" abcd-1") == b" "
    assert stream.feed(b"234!") == b"***!"
    assert stream.feed(b"ab") == b""
    assert stream.close() == b"ab"
    assert stream.feed(b"cd-1234") == b"cd-1234"


ALPHABET = st.sampled_from("abA/+&\n\"'é")
SECRETS = st.lists(st.text(ALPHABET, min_size=4, max_size=40), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(SECRETS, st.data())
@example(["aaaa", "aaaaab"], None)
def test_pieces_make_no_difference_and_no_form_is_left(values: list[str], data: st.DataObject | None) -> None:
    secrets = knowing(*values)
    forms = sorted({form for value in values for form in forms_of(value)})
    if data is None:
        text, sizes = b"xaaaaaaaaabaaaa", [3, 1, 1, 4, 2]
    else:
        words = st.one_of(st.sampled_from(forms), st.text(ALPHABET, max_size=6).map(str.encode))
        text = b"".join(data.draw(st.lists(words, max_size=12)))
        sizes = data.draw(st.lists(st.integers(0, 30), max_size=20))
    whole = in_pieces(secrets, text)
    assert in_pieces(secrets, text, *sizes) == whole
    assert whole == naively_masked(text, forms)
    assert not [form for form in forms for piece in whole.split(b"***") if form in piece]
    assert secrets.text(text.decode(errors="surrogateescape")).encode(errors="surrogateescape") == whole


def naively_masked(data: bytes, forms: list[bytes]) -> bytes:
    said, at = b"", 0
    while at < len(data):
        found = max((form for form in forms if data.startswith(form, at)), key=len, default=b"")
        said += b"***" if found else data[at : at + 1]
        at += len(found) or 1
    return said


def test_a_secret_of_many_kilobytes_over_many_reads() -> None:
    secret = "".join(f"{number:08x}" for number in range(5000))
    data = b"head " + secret.encode() + b" tail"
    assert in_pieces(knowing(secret), data, *[1000] * 38) == b"head *** tail"


def test_thousands_of_secrets_are_learned_while_others_mask() -> None:
    """As each lease brings a password of its own."""
    secrets = Secrets(["*"])
    values = [f"value-{number:05}-{number * 7919:x}" for number in range(2000)]
    missed: list[str] = []
    learned: list[str] = []
    is_over = threading.Event()

    def mask() -> None:
        while not is_over.is_set():
            known = list(learned)
            missed.extend(value for value in known if value in secrets.text(f"see {value}."))

    threads = [threading.Thread(target=mask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for value in values[:200]:
        secrets.learn({"A": value})
        learned.append(value)
    is_over.set()
    for thread in threads:
        thread.join()
    assert not missed
    for value in values:
        secrets.learn({"A": value})
    assert secrets.text(" ".join(values)) == " ".join(["***"] * 2000)
    assert secrets.text("value-00001-x") == "value-00001-x"


def test_a_piece_that_ends_like_many_secrets_costs_no_more_for_each() -> None:
    def seconds(count: int) -> float:
        secrets = knowing(*(f"sk_live_{number:08d}" for number in range(count)))
        stream = Stream(secrets)
        began = time.thread_time()
        for _ in range(500):
            stream.feed(b" 99 tasks done, ask me")
        return time.thread_time() - began

    assert seconds(3000) < 20 * seconds(3)


def test_one_that_is_too_short_is_named_once_and_not_masked() -> None:
    secrets = Secrets(["PIN", "NONE", "EMPTY"])
    secrets.learn({"PIN": "123", "EMPTY": ""})
    secrets.learn({"PIN": "123"})
    assert secrets.warnings() == ["the value of PIN is not masked: it has fewer than 4 characters"]
    assert secrets.warnings() == []
    assert secrets.text("123") == "123"


def test_errors_are_masked() -> None:
    error = knowing("abcd-1").error(PlanError(["a: abcd-1", "b"], "not abcd-1"))
    assert isinstance(error, PlanError)
    assert (error.problems, error.message, error.cure) == (["a: ***", "b"], "a: ***\nb", "not ***")
