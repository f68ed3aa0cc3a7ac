"""Words for writing plans and outcomes briefly."""

import msgspec

from harness.model import After, Dependency, Group, Outcome, Phase, Status


def make_group(name: str, *, after: tuple[str, ...] = (), any_of: tuple[str, ...] = (), **fields: object) -> Group:
    """A group of `true`; `after` are dependencies on success, `any_of` on order only."""
    depends_on = tuple(Dependency(group=other) for other in after)
    depends_on += tuple(Dependency(group=other, after=After.ANY) for other in any_of)
    return Group(name=name, phase="", command="true", depends_on=depends_on, **fields)  # type: ignore[arg-type]


def make_splittable(name: str, *files: str, **more: object) -> Group:
    return make_group(name, tests=files, splittable=True, **more)  # type: ignore[arg-type]


def make_phase(name: str, *groups: Group | str, sequential: bool = False) -> Phase:
    made = [make_group(group) if isinstance(group, str) else group for group in groups]
    placed = tuple(msgspec.structs.replace(group, phase=name) for group in made)
    return Phase(name=name, sequential=sequential, groups=placed)


def make_outcome(
    group: str, status: Status = Status.PASSED, attempt: int = 1, reason: str = "", **fields: object
) -> Outcome:
    return Outcome(group=group, attempt=attempt, status=status, started_at=0.0, duration=1.0, reason=reason, **fields)  # type: ignore[arg-type]
