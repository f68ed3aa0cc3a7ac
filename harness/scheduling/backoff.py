"""How long a retry waits: twice as long each time, with jitter, so that what failed together comes back apart.

"Equal jitter" (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015): half of the delay is
certain, the other half random. The randomness comes from the run's seed, so a run can be replayed.
"""

import random

from harness.model import Group

LONGEST_DELAY = 60.0  # seconds


def retry_delay(group: Group, failed_attempt: int, seed: int) -> float:
    """Seconds between the end of `failed_attempt` (from 1) and the start of the next one."""
    # The exponent is bounded because a float is: 2.0 ** 1100 would raise.
    delay = min(group.retry_delay * 2.0 ** min(failed_attempt - 1, 64), LONGEST_DELAY)
    return delay * random.Random(f"{seed}/{group.name}/{failed_attempt}").uniform(0.5, 1.0)
