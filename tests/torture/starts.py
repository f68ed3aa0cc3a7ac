"""Two runs of a project at the same moment, again and again."""

from collections.abc import Iterator
from functools import partial

from faults.agreement import runs_of
from torture.trials import Result, carry_out, left_boxes, project


def starts(count: int, side_by_side: int) -> Iterator[Result]:
    yield carry_out("two starts at the same moment", [_both] * count, max(1, side_by_side // 2))


def _both() -> None:
    with project("start") as stage:
        both = [stage.start("test", "--parallel") for _ in range(2)]
        ran = [stage.finish(process) for process in both]
        assert [it.code for it in ran] == [1, 1], "\n".join(it.stdout + it.stderr for it in ran)
        assert len(runs_of(stage.directory)) == 2
        stage.judge(inventory=partial(left_boxes, stage))
