"""kill -9 at random moments of a run: of the harness, and of the harness with its guardian. Then the next start."""

import random
import time
from collections.abc import Iterator
from functools import partial

from faults.killing import await_silence, kill_guardian
from torture.trials import Result, carry_out, left_boxes, project

GUARDIAN = 20.0  # seconds that it may take on a machine that is busy; two and the grace on one that is not
CURES = (("gc",), ("test", "--groups", "first,stubborn"))  # those have one of each entry


def kills(count: int, seed: int, side_by_side: int) -> Iterator[Result]:
    """Half of them kill the guardian too, and half of each are followed by `gc`, the others by another run."""
    length = _length(side_by_side)
    chance = random.Random(seed)
    moments = [chance.uniform(0.0, 1.1 * length) for _ in range(count)]
    for name, both in (("kill -9 of the harness", False), ("kill -9 of the harness and its guardian", True)):
        mine = moments[both::2]
        trials = [partial(_kill, moment, both, CURES[number // 2 % 2]) for number, moment in enumerate(mine)]
        yield carry_out(f"{name}, at random moments of {length:.1f} s", trials, side_by_side)


def _length(side_by_side: int) -> float:
    """Of a run that nobody disturbs, when as many run side by side."""

    def once() -> None:
        with project("whole") as stage:
            began = time.monotonic()
            ran = stage.run("test", "--parallel")
            took.append(time.monotonic() - began)
            assert ran.code == 1, ran.stdout + ran.stderr
            stage.judge(inventory=partial(left_boxes, stage))

    took: list[float] = []
    result = carry_out("nobody disturbs it", [once] * side_by_side, side_by_side)
    assert not result.failed, "without a fault there must be none"
    return max(took)


def _kill(moment: float, both: bool, cure: tuple[str, ...]) -> None:
    with project("kill") as stage:
        process = stage.start("test", "--parallel")
        time.sleep(moment)
        if both:
            kill_guardian(stage)
        stage.kill(process)
        if not both:
            await_silence(stage, GUARDIAN)
        try:
            swept = stage.run(*cure)
            assert swept.code == 0, f"{cure}: {swept.stdout}{swept.stderr}"
            stage.judge(inventory=partial(left_boxes, stage))
        except AssertionError as error:
            raise AssertionError(f"killed after {moment:.3f} s, then {' '.join(cure)}: {error}") from error
