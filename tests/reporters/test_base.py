"""What reporters share."""

import random
import time
from datetime import datetime

import pytest

from harness.reporters.base import _offset, iso_time


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns"])
def test_times_are_local_on_both_sides_of_a_change_of_the_clocks(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    _offset.cache_clear()
    draw = random.Random(0)
    changes = [1774746000.0, 1792890000.0, 1775314800.0, 1791039600.0, 1773552600.0]  # of 2026
    moments = [change + offset for change in changes for offset in (-0.001, 0.0, 0.0015, 899.9996, 1800.0, -1800.0)]
    moments += [draw.uniform(1.7e9, 1.9e9) for _ in range(1000)]
    for moment in moments:
        assert iso_time(moment) == datetime.fromtimestamp(moment).astimezone().isoformat(timespec="milliseconds")
