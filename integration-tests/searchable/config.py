"""Settings, read once from the environment; nothing else in the package looks at it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """How one instance of the service behaves. Durations are in seconds, money in cents, sizes in bytes."""

    database_url: str
    platform_key: str
    settlement_seconds: float = 1.0
    """How long the payment network takes to settle a card; real ones take seconds to days."""
    payout_seconds: float = 2.0
    """How long a bank takes to accept a payout, or to send it back: longer than a card, there as here."""
    background_seconds: float = 0.5
    """How long the index, the virus scan and the moderation gather work before they run."""
    network_rate: float = 12.0
    """Calls a second that the payment network grants to one payment account."""
    network_burst: int = 12

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Reads DATABASE_URL and SEARCHABLE_PLATFORM_KEY; raises RuntimeError naming what is missing."""
        missing = [name for name in ("DATABASE_URL", "SEARCHABLE_PLATFORM_KEY") if not environment.get(name)]
        if missing:
            raise RuntimeError(f"searchable cannot start: {' and '.join(missing)} must be set")
        return cls(environment["DATABASE_URL"], environment["SEARCHABLE_PLATFORM_KEY"])
