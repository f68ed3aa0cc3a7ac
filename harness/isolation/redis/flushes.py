"""Whether somebody has removed the keys by which leases are known, as FLUSHALL does.

Only labels that this process has written are watched, from right after they were written until right before they are
removed. How often they went is counted and never counted back: when they are written again, nobody has touched
anything, and nobody must be blamed for it.
"""

import threading

from harness.isolation.redis.server import Client


class Flushes:
    """Those of one database. Any thread may call; what asks the server raises the errors of the package redis."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._keys: dict[str, str] = {}  # by token
        self._gone: set[str] = set()  # tokens whose keys are known to be gone
        self._count = 0
        self._lock = threading.Lock()

    def watch(self, token: str, key: str) -> None:
        with self._lock:
            self._keys[token] = key

    def forget(self, token: str) -> None:
        with self._lock:
            self._keys.pop(token, None)

    def count(self) -> int:
        """How often some went, up to now. To be asked before any is written again."""
        with self._lock:
            if self._keys:
                labels = self._client.execute_command("MGET", *self._keys.values())
                gone = {token for token, label in zip(self._keys, labels, strict=True) if label is None}
                self._count += bool(gone - self._gone)
                self._gone = gone
            return self._count

    def told(self) -> str:
        """As the contamination check tells it."""
        count = self.count()
        return f"gone{f' {count} times' if count > 1 else ''}, as after FLUSHALL" if count else "as they were"
