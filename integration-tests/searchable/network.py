"""The payment network, as seen from here: it limits calls per payment account, and settles later.

It stands in for a provider such as those that move real money. Two of its habits are what the rest of the service
must cope with: a call can be refused for coming too fast, and the outcome of a charge is known only after a while,
by asking again (which is a call, too).

The buckets live in this process, so the service runs as one process.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from searchable.errors import ApiError

DECLINED = "card_declined"
CARDS = ("card_visa", "card_master", DECLINED)


class TokenBucket:
    """Holds at most `burst` tokens and regains `rate` a second; a call costs one.

    >>> bucket = TokenBucket(rate=2, burst=1, clock=lambda: 100.0)
    >>> bucket.take(), bucket.take()
    (0.0, 0.5)
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self.clock = rate, burst, clock
        self.lock = threading.Lock()
        self.tokens = self.lowest = float(burst)
        self.filled_at = clock()
        self.granted = self.refused = 0

    def take(self) -> float:
        """Takes a token and returns 0.0, or returns the seconds until there will be one."""
        with self.lock:
            now = self.clock()
            self.tokens = min(self.burst, self.tokens + (now - self.filled_at) * self.rate)
            self.filled_at = now
            if self.tokens < 1:
                self.refused += 1
                return (1 - self.tokens) / self.rate
            self.tokens -= 1
            self.granted += 1
            self.lowest = min(self.lowest, self.tokens)
            return 0.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the network says at once about a charge it accepted: everything but how it ends."""

    reference: str
    settlement_seconds: float


class PaymentNetwork:
    """Accounts by name, opened on first use."""

    def __init__(self, rate: float, burst: int, settlement_seconds: float, payout_seconds: float) -> None:
        self.rate, self.burst = rate, burst
        self.settlement_seconds, self.payout_seconds = settlement_seconds, payout_seconds
        self.accounts: dict[str, TokenBucket] = {}
        self.lock = threading.Lock()

    def account(self, name: str) -> TokenBucket:
        with self.lock:
            return self.accounts.setdefault(name, TokenBucket(self.rate, self.burst))

    def close(self, name: str) -> None:
        with self.lock:
            self.accounts.pop(name, None)

    def submit(self, account: str, *, payout: bool) -> Receipt:
        """Hands in a charge or a payout; raises ApiError 429 when the account calls too often."""
        self.call(account)
        return Receipt(f"net_{uuid4().hex}", self.payout_seconds if payout else self.settlement_seconds)

    def call(self, account: str) -> None:
        """Any call; submitting and asking for a status cost the same."""
        wait = self.account(account).take()
        if wait:
            raise ApiError(
                429, "rate_limited", "the payment network is called too often by this account", retry_after=wait
            )
