"""Texts that act where somebody forgets that they are data, and judges that know nothing of how the harness escapes.

A judge returns what it objects to; an empty list is an acquittal.
"""

import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt

# A file of this name anywhere means that a shell has obeyed one of them.
PWNED = "pwned"

SHELL = [
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "x && touch pwned || touch pwned & touch pwned",
    "${PWNED:=$(touch pwned)}",
    "> pwned",
]
RUNNER = [
    "::error::pwned",
    "::set-output name=a::pwned",
    "::add-mask::e",
    "::stop-commands::x",
    "%0A::error::pwned",
    "##[error]pwned",
    "##[add-mask]e",
]
MARKUP = [
    "<script>alert(1)</script>",
    "]]>",
    "<!-- &amp; &#60;",
    "| [x](javascript:alert(1)) ![y](http://evil.example) @octocat #1 |",
    "https://evil.example/ www.evil.example a@evil.example",
    "# h\\ *b* _i_ ~s~",
]
PATHS = ["../../x", "..", ".", "-rf", "--help", "/etc/passwd", "x" * 300]
ALIKE = ["A", "a", "\u00e9", "e\u0301", "\uff41", "a\u200bb", "a\u2060b", "ab"]
FORMATS = ["{port} {0} %s %(x)s \\n \\x1b[31m", "NaN", "null", "=1+1"]
DIRECTIONS = ["\u202egnp.exe\u2066", "\u061cx", "\u200fx\u200e"]
LETTERS = ["中文 😀", "Ünïcödé", "\U000e0041x"]
# A plan holds these as names: one line without commas.
NAMES = [*SHELL, *RUNNER, *MARKUP, *PATHS, *ALIKE, *FORMATS, *DIRECTIONS, *LETTERS]

TERMINAL = [
    "\x1b]0;pwned\x07",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x1b[2J\x1b[H\x1b[31mred",
    "\x1bP1$r0m\x1b\\\x1b_Gf=100\x1b\\\x1b^x\x1b\\",
    "\x9b2J\x9d0;pwned\x9c\x90x\x9c",
    "over\rwritten\x08\x08\x0b\x0c\x85",
    "\x1b[6n\x1b[c\x1b]52;c;cHduZWQ=\x07",
    "\u2028line\u2029",
    "\ufffe\uffff\ufffb",
    "\n::error::pwned\n  ::warning::pwned\n\u00a0::add-mask::e\n",
    "\nSTATUS=passed\ntouch pwned\n",
]
# Logs, messages and answers hold these too.
TEXTS = [*NAMES, *TERMINAL]
EVERYTHING = " ".join(TEXTS)
EVERYTHING_IN_A_LINE = " ".join(name for name in NAMES if name.isprintable() or name in DIRECTIONS).replace(",", "")
LONG_NAME = " ".join([*RUNNER, *SHELL, *MARKUP])[:300].strip()
BYTES = b"y" * 100_000 + b"\n" + bytes(range(256)) + b"\n" + "\n".join(TEXTS).encode() + b"\n"

# What is neither shown nor seen, or changes the order of what is.
_UNSEEN = re.compile("[\u200b\u200e\u200f\u061c\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]")
_SGR = re.compile(r"\x1b\[[0-9;]*m")
_OURS_ON_A_TERMINAL = re.compile(r"\x1b\[[0-9;]*m|\x1b\[[0-9]*A|\x1b\[2?K|\r")
_COMMANDS = {
    *("set-env", "set-output", "save-state", "add-mask", "add-path", "add-matcher", "remove-matcher", "debug"),
    *("warning", "error", "notice", "group", "endgroup", "echo", "stop-commands"),
}


def acting(text: str, *, colours: bool = False) -> list[str]:
    """Control characters and the like in what is printed, but for the ends of lines."""
    text = _SGR.sub("", text) if colours else text
    text = text.replace("\n", "")
    found = [char for char in text if unicodedata.category(char) == "Cc" or _UNSEEN.match(char)]
    return [f"{char!a} in {text[max(0, text.index(char) - 40) :][:80]!a}" for char in dict.fromkeys(found)]


def obeyed(text: str) -> list[tuple[str, str]]:
    """The workflow commands that GitHub's runner finds in these lines, as its ActionCommandManager looks for them."""
    found = []
    token = ""
    for line in re.split("\r\n|\r|\n", text):
        command, data = _command_in(line, token)
        if token:
            token = "" if command == token else token
        elif command == "stop-commands":
            token = data
            found.append((command, ""))
        elif command:
            found.append((command, data))
    return found


def _command_in(line: str, token: str) -> tuple[str, str]:
    known = _COMMANDS | {token} - {""}
    start = line.lstrip()
    if start.startswith("::") and (end := start.find("::", 2)) > 0:
        command = start[2:end].partition(" ")[0]
        if command in known:
            return command, start[end + 2 :]
    at = line.find("##[")
    if at >= 0 and (end := line.find("]", at)) > 0:
        command = line[at + 3 : end].partition(" ")[0]
        if command in known:
            return command, line[end + 1 :]
    return "", ""


def commanding(text: str) -> list[str]:
    """Lines that a runner could take for commands, whether it knows them or not."""
    lines = text.split("\n")
    return [line for line in lines if line.lstrip().startswith("::") or re.search(r"##\w*\[", line)]


def objections(text: str, *, colours: bool = False) -> list[str]:
    """To what is printed where no line of it is meant for a runner."""
    return [*acting(text, colours=colours), *commanding(_SGR.sub("", text) if colours else text)]


def beyond_ours(written: bytes) -> list[str]:
    """What is written to a terminal that is neither text nor one of the sequences of our display."""
    return acting(_OURS_ON_A_TERMINAL.sub("", written.decode("utf-8")))


def pwned(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.name == PWNED]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [f"{name}={value}" for name, value in attrs if name not in ("style",)]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read_markdown(text: str) -> _Page:
    """A page as a browser gets it. Mentions are found by GitHub in what is text then, piece by piece."""
    page = _Page()
    page.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))
    return page


def alive_in_markdown(text: str) -> list[str]:
    page = read_markdown(text)
    ours = {"h3", "p", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "pre"}
    mentions = [piece for piece in page.texts if re.search(r"(?:^|\W)@\w", piece)]
    # What GitHub's own Markdown makes links of without being asked.
    links = re.findall(r"(?:https?://|www\.)\S+", text)
    return [*(page.tags - ours), *page.links, *mentions, *links]


def toml(text: str) -> str:
    """A basic string of TOML."""
    return '"' + "".join(_toml(char) for char in text) + '"'


def _toml(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() else f"\\U{ord(char):08x}"
