"""A run as it was asked for: what the door hands to the loop (cli/prepare.py to run.py). Data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.masking import Secrets
from harness.model import Phase, Plan
from harness.runners import PytestOptions


@dataclass(frozen=True)
class Request:
    """A run as it was asked for: everything decided that can be decided before it starts."""

    plan: Plan
    phases: tuple[Phase, ...]  # what is to run, after selection
    off: Mapping[str, str]  # phases that are not to run, and why
    deselected: int
    services: tuple[str, ...]  # to be started, dependencies included
    environment: str
    parallel: bool
    jobs: int
    max_failures: int  # 0: failures stop nothing
    global_timeout: float | None
    shell: dict[str, str]  # the variables that the harness was called with
    dotenv: dict[str, str]  # those of the plan's env_files
    pytest: PytestOptions
    python: str
    shows_output: bool  # what groups print is shown as it comes
    secrets: Secrets = field(default_factory=Secrets)  # what is known by now; it learns more while the run goes on
    estimates: Mapping[str, float] = field(default_factory=dict)  # expected seconds of every group and part
    cached: Mapping[str, str] = field(default_factory=dict)  # groups that need not run -> the run in which they passed
    filters: str = ""  # the options that leave tests out of groups, as they would be typed
    seed: int = 0  # of all that is random
    shuffle: bool = False
    shard: str = ""  # "2/4"; empty: the whole
    all_groups: tuple[str, ...] = ()  # with a shard: what all the shards run together
    predicted: float | None = None  # seconds
    commit: str = ""
    dirty: bool = False
    warnings: tuple[str, ...] = ()  # to be told when it starts
    keep_environment: bool = False  # those of groups that fail stay
