"""What the tests inside an attempt came to, wherever that is told: a pipe, a report file, or the command's own output.

| module | holds |
| --- | --- |
| `known.py` | `KnownTests`: what is known of the tests of one attempt, and the events about them |
| `lines.py`, `text.py` | bytes into lines, foreign text into text that is safe to keep |
| `sink.py` | `Sink` and `Reader`: what a reader is, and whom it tells |
| `junit.py`, `tap.py`, `gotest.py` | one reader each |
| `reports.py` | `report_of`: which reader, and what it is fed |

A report is written by whatever the tests are, so nothing in it is believed: no reader raises, whatever it is fed, none
keeps more than it must, and none takes a report that broke off for a whole one. docs/results.md says it to users.
"""

from harness.results.known import KnownTests
from harness.results.reports import READERS, Report, report_of
from harness.results.sink import Reader, Sink

__all__ = ["READERS", "KnownTests", "Reader", "Report", "Sink", "report_of"]
