"""Secrets: which values are (choice.py), in which forms they appear (forms.py), and masking them in what a run says.

Protocol: a run has one `Secrets`. It learns values as they become known, from any thread, and forgets none. Bytes that
come in pieces go through a Stream, texts through `text`, events through `masked` (events.py).
"""

from harness.masking.secrets import Secrets, Stream

__all__ = ["Secrets", "Stream"]
