"""The runs of the shards of one suite (planning/shard.py) as one run. See docs/shards.md."""

from harness.merging.parts import ShardRun, choose
from harness.merging.whole import Log, Merged, ended, merge

__all__ = ["Log", "Merged", "ShardRun", "choose", "ended", "merge"]
