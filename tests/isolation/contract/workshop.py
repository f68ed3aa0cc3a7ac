"""A process that makes leases in children of its own, which may be killed at any moment: run as a script.

It has one thread and forks: a child costs milliseconds. It reads one order a line, as JSON, and answers each with two
lines: the child's pid at once, and how the child ended. An order is {"do": "once" | "churn" | "hold", …}.

A fault on this machine is planted by an audit hook: the nth time that a lease's life asks the system for anything (a
file, a directory, a lock, a socket, a process), it fails, or the process is killed.
"""

import json
import os
import signal
import sys
import tempfile
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

LONGEST = 120  # seconds
SYSTEM = ("open", "os.", "fcntl.", "socket.", "subprocess.")


class Step:
    """Counts what is asked of the system while `armed`."""

    def __init__(self, at: int, kills: bool) -> None:
        self.at, self.kills, self.count, self.armed = at, kills, 0, False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed or not event.startswith(SYSTEM):
            return
        if event == "open" and str(arguments[0]).endswith((".py", ".pyc")):
            return
        self.count += 1
        if self.count == self.at:
            if self.kills:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(28, f"planted at step {self.at}: {event} {arguments}")


def once(world: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Makes one lease and releases it, with a journal, as the manager does. What fails is released once more."""
    from isolation.contract.world import RUN, finish, lease_with

    from harness.errors import InfrastructureError
    from harness.isolation.journal import Journal

    step = Step(order.get("at", 0), order.get("kills", False))
    sys.addaudithook(step)
    errors = []
    step.armed = step.kills
    journal = Journal.open(Path(order["journals"]), RUN)
    kind = world.make_kind()
    lease = lease_with(kind, world.new_lease())
    journal.making(lease, kind.durable)
    step.armed = True
    try:
        lease, _ = finish(kind, lease, journal.learned)
    except InfrastructureError as error:
        errors.append(f"make: {error.message}")
    else:
        try:
            kind.release(lease)
        except InfrastructureError as error:
            errors.append(f"release: {error.message}")
            kind.release(lease)
    step.armed = step.kills
    journal.released(lease.token)
    journal.close()
    kind.close()
    return {"steps": step.count, "errors": errors}


def churn(world: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Makes, uses and releases leases in four threads, until it is killed: by itself, if nobody else does in time."""
    signal.alarm(LONGEST)
    from isolation.contract.world import RUN, finish, lease_with

    from harness.isolation.journal import Journal

    journal = Journal.open(Path(order["journals"]), RUN)
    kind = world.make_kind()
    step = Step(order.get("at", 0), kills=True)
    sys.addaudithook(step)
    step.armed = True

    def forever(number: int) -> None:
        while True:
            lease = lease_with(kind, world.new_lease(number=number))
            journal.making(lease, kind.durable)
            lease, made = finish(kind, lease, journal.learned)
            world.use(made.variables)
            kind.release(lease)
            journal.released(lease.token)

    with ThreadPoolExecutor(4) as pool:
        for ended in [pool.submit(forever, number) for number in range(4)]:
            ended.result()
    raise AssertionError("it never ends by itself")


def hold(world: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Makes some leases at once, says what they are, and releases them when told to."""
    from isolation.contract.world import make

    kind = world.make_kind()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: make(kind, world.new_lease(number=number)), range(order["count"])))
        values = [value for _, one in made for value in world.exclusive(one.variables)]
        print(json.dumps({"values": values}), flush=True)
        sys.stdin.readline()
        list(pool.map(lambda one: kind.release(one[0]), made))
    kind.close()
    return {}


def obey(order: dict[str, Any], answer: int) -> None:
    """The child's whole life."""
    from isolation.contract.world import Place
    from isolation.contract.worlds import WORLDS

    try:
        world = WORLDS[order["world"]](Place(**order["place"]))
        said = {"once": once, "churn": churn, "hold": hold}[order["do"]](world, order)
        os.write(answer, json.dumps(said).encode())
        code = 0
    except BaseException:  # a child that went on from here would be a second workshop
        traceback.print_exc()
        code = 1
    assert threading.main_thread() is threading.current_thread()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    tempfile.gettempdir()  # it tries the directory out with a file, once
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        answers, answer = os.pipe()
        wait, go = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(answers)
            os.close(go)
            os.read(wait, 1)  # until its pid was told: it may have something to say as well
            obey(order, answer)
        os.close(answer)
        os.close(wait)
        print(json.dumps({"pid": pid}), flush=True)
        os.close(go)
        said = b""
        while data := os.read(answers, 65536):
            said += data
        os.close(answers)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status), **json.loads(said or b"{}")}), flush=True)


if __name__ == "__main__":
    main()
