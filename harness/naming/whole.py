"""From the bytes of a file to its findings, and to its bytes as they should be.

Protocol: `whole` is what `harness.naming.examine` calls once libcst is known to be there. Detectors say what is fixed
in the file, this module says once for each literal what becomes of it.
"""

import warnings
from dataclasses import replace

from harness.naming import Examined, Finding
from harness.naming.addresses import ports
from harness.naming.calls import Hit
from harness.naming.fixes import Fixes
from harness.naming.identities import identities, name_of
from harness.naming.keys import keys
from harness.naming.places import places
from harness.naming.statements import statements
from harness.naming.syntax import TOO_DEEP, Unparsable
from harness.naming.tree import Source
from harness.naming.values import Values

DETECTORS = (identities, ports, places, keys, statements)


def whole(data: bytes, *, fix: bool, shared: bool) -> Examined:
    """As `harness.naming.examine`, which says what the parameters mean."""
    try:
        source = Source.parse(data)
        hits = _in_order(source)
    except Unparsable as error:
        return Examined(data, problem=str(error), line=error.line)
    except RecursionError:
        return Examined(data, problem=TOO_DEEP, line=1)
    fixes = Fixes(source, hits, shared=shared)
    exact = source.exact
    found = []
    for hit in hits:
        obstacle = fixes.consider(hit) if exact else "its lines cannot be told apart exactly"
        line, column = source.at(hit.value.node)
        found.append(Finding(line, column, hit.kind, hit.value.text, name_of(hit.call), hit.why, hit.fixture, obstacle))
    if not fix:
        return Examined(data, tuple(found))
    mended = _mended(source, fixes) if fixes.edits else data
    if mended is None:
        spoilt = "the file would be no Python with its fixes"
        return Examined(data, tuple(replace(finding, obstacle=finding.obstacle or spoilt) for finding in found))
    left = tuple(finding for finding in found if finding.obstacle)
    return Examined(mended, left, tuple(finding for finding in found if not finding.obstacle))


def _mended(source: Source, fixes: Fixes) -> bytes | None:
    """The file with its fixes; None where Python would not take it."""
    try:
        mended = source.spliced(fixes.edits)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of was there before
            compile(mended, "the mended file", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # a UnicodeEncodeError is a ValueError
        return None
    return mended


def _in_order(source: Source) -> list[Hit]:
    """Each literal once, as they follow one another in the file, without those that are meant."""
    values = Values(source)
    hits = [hit for detector in DETECTORS for hit in detector(source, values)]
    single: dict[tuple[int, str], Hit] = {}
    for hit in sorted(hits, key=lambda hit: source.at(hit.value.node)):
        if not source.silenced(hit.value.node):
            single.setdefault((id(hit.value.node), hit.value.text), hit)
    return list(single.values())
