"""Who touched what: by literal stories."""

from boxes import Boxes

from harness.errors import InfrastructureError
from harness.isolation.lease import Context
from harness.isolation.watch import Watch


class Scene:
    def __init__(self, context: Context) -> None:
        self.kind = Boxes(context, context.project / "boxes")
        self.kind.seen = {"table users": "12 rows"}
        self.warnings: list[str] = []
        self.watch = Watch({"db": self.kind}, {}, self.warnings.append)

    def came(self, *names: str) -> None:
        for name in names:
            self.watch.came(f"{name}#1", name, ("db",))

    def went(self, name: str) -> list[str]:
        return self.watch.went(f"{name}#1")


def test_a_group_that_touches_nothing_is_told_of_nothing(context: Context) -> None:
    scene = Scene(context)
    scene.came("a")
    assert scene.went("a") == []


def test_what_changes_while_one_runs_is_his(context: Context) -> None:
    scene = Scene(context)
    scene.came("a")
    scene.kind.seen |= {"table users": "13 rows", "table jobs": "1 row"}
    assert scene.went("a") == [
        "table jobs: is new: 1 row (no other group ran)",
        "table users: 12 rows → 13 rows (no other group ran)",
    ]
    scene.came("b")
    assert scene.went("b") == []  # it is how things are now


def test_what_is_gone_and_what_was_put_back(context: Context) -> None:
    scene = Scene(context)
    scene.came("a")
    scene.kind.seen = {}
    scene.came("b")
    assert scene.went("b") == []
    scene.kind.seen = {"table users": "12 rows"}
    assert scene.went("a") == ["table users: was touched and put back (b ran as well)"]


def test_what_is_gone(context: Context) -> None:
    scene = Scene(context)
    scene.came("a")
    scene.kind.seen = {}
    assert scene.went("a") == ["table users: is gone: 12 rows (no other group ran)"]


def test_where_several_ran_each_is_told_and_of_the_others(context: Context) -> None:
    scene = Scene(context)
    scene.came("a", "b")
    scene.watch.came("c#1", "c", ())  # not checked: told of nothing, but may have done it
    scene.kind.seen["table users"] = "13 rows"
    assert scene.went("a") == ["table users: 12 rows → 13 rows (b, c ran as well)"]
    assert scene.went("c") == []
    assert scene.went("b") == ["table users: 12 rows → 13 rows (a, c ran as well)"]


def test_whoever_ran_at_any_of_its_changes_is_named(context: Context) -> None:
    scene = Scene(context)
    scene.came("a", "b")
    scene.kind.seen["table users"] = "13 rows"
    assert scene.went("b") == ["table users: 12 rows → 13 rows (a ran as well)"]
    scene.came("c")
    scene.kind.seen["table users"] = "14 rows"
    assert scene.went("c") == ["table users: 13 rows → 14 rows (a ran as well)"]
    assert scene.went("a") == ["table users: 12 rows → 14 rows (b, c ran as well)"]


def test_who_came_and_went_between_two_looks_is_named(context: Context) -> None:
    scene = Scene(context)
    scene.came("a")
    scene.watch.came("quick#1", "quick", ())
    scene.kind.seen["table users"] = "13 rows"
    scene.watch.went("quick#1")
    assert scene.went("a") == ["table users: 12 rows → 13 rows (quick ran as well)"]
    scene.came("b")
    scene.kind.seen["table users"] = "14 rows"
    assert scene.went("b") == ["table users: 13 rows → 14 rows (no other group ran)"]


def test_what_cannot_be_told_now_is_as_before(context: Context) -> None:
    scene = Scene(context)
    scene.came("a")
    scene.kind.seen["table users"] = ""
    scene.came("b")
    assert scene.went("b") == []
    scene.kind.seen["table users"] = "12 rows"
    assert scene.went("a") == []


def test_who_came_later_is_not_told_of_what_was_before(context: Context) -> None:
    scene = Scene(context)
    scene.came("a")
    scene.kind.seen["table users"] = "13 rows"
    scene.came("b")
    assert scene.went("b") == []
    assert scene.went("a") == ["table users: 12 rows → 13 rows (no other group ran)"]


def test_what_happens_while_nobody_runs_is_nobodys(context: Context) -> None:
    scene = Scene(context)
    scene.came("a")
    scene.went("a")
    scene.kind.seen["table users"] = "13 rows"
    scene.came("b")
    assert scene.went("b") == []


def test_a_look_that_fails_is_told_once_and_finds_nothing(context: Context) -> None:
    scene = Scene(context)

    def blind(_sentinel: object) -> dict[str, str]:
        raise InfrastructureError("no connection")

    scene.kind.look = blind  # type: ignore[method-assign]
    scene.came("a", "b")
    assert scene.went("a") == []
    assert scene.went("b") == []
    assert scene.warnings == ["[isolation.db] is not checked for contamination any more: no connection"]
