"""Services: processes that are started before the run and stopped after it. manager.py is the way in.

Where do I add a kind? A class with the methods of `Kind` (unit.py) in a file of its own, and its name where Unit
chooses one.
"""

from harness.services.manager import Services

__all__ = ["Services"]
