"""A kind whose things are files in a directory, with faults to plant: for what is true of all kinds alike."""

from collections.abc import Callable, Mapping
from pathlib import Path

from harness.errors import InfrastructureError
from harness.isolation.lease import BaseKind, Context, Lease, Made, new_token


class Boxes(BaseKind):
    def __init__(self, context: Context, place: Path) -> None:
        super().__init__({}, context)
        self.place = place
        self.fails: set[str] = set()  # "make" after half of it, "release"
        self.renewed: list[str] = []
        self.told_to_stay: list[str] = []
        self.released: list[str] = []
        self.seen: dict[str, str] = {}
        place.mkdir(exist_ok=True)

    def plan(self, lease: Lease) -> Mapping[str, str]:
        return {"box": f"box-{lease.token}"}

    def make(self, lease: Lease, learned: Callable[[Mapping[str, str]], None]) -> Made:
        (self.place / lease.details["box"]).touch()
        learned({"lid": f"lid-{lease.token}"})
        if "make" in self.fails:
            raise InfrastructureError("the lid does not fit", "Take another one.")
        (self.place / f"lid-{lease.token}").touch()
        return Made({"BOX": lease.details["box"]})

    def release(self, lease: Lease) -> None:
        if "release" in self.fails:
            raise InfrastructureError("the box is nailed down")
        self.released.append(lease.token)
        for name in lease.details.values():
            (self.place / name).unlink(missing_ok=True)

    def renew(self, lease: Lease) -> None:
        (self.told_to_stay if lease.kept else self.renewed).append(lease.token)

    def look(self, sentinel: Lease | None) -> Mapping[str, str]:
        return dict(self.seen)

    @property
    def inventory(self) -> set[str]:
        return {path.name for path in self.place.iterdir()}


def box(entry: str = "box", **fields: object) -> Lease:
    return Lease(token=new_token(), entry=entry, kind="box", run_id="20260101_000000", **fields)  # type: ignore[arg-type]
