"""What earlier runs were like, in one SQLite file of the project: derived data, never needed, always welcome."""

from harness.history.store import HISTORY_FILE, History

__all__ = ["HISTORY_FILE", "History"]
