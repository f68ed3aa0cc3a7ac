"""Services with real little processes: who starts when, when one is ready, and that nothing is left behind."""

import contextlib
import http.server
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from harness.errors import InfrastructureError
from harness.events import AnyEvent, ServiceFailed, ServiceReady, ServiceStarted, ServiceStopped, Warned
from harness.masking import Secrets
from harness.model import Plan, Ready, Service
from harness.ports import PortChooser, is_taken
from harness.services import Services

PATIENCE = 30.0  # seconds that a test waits for what must happen; long, because machines are slow
FOREVER = "exec sleep 1000"
SAYS_UP = f"echo up; {FOREVER}"
UP = Ready(log="^up$", timeout=PATIENCE)

# A service in Python: answers GET with the status in $STATUS, 503 for the first $REFUSALS times.
SERVER = """
import http.server, os, sys
refusals = int(os.environ.get("REFUSALS", "0"))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global refusals
        refusals -= 1
        self.send_response(503 if refusals >= 0 else int(os.environ.get("STATUS", "200")))
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
SERVE = (sys.executable, "-S", "-c", SERVER, "{port}")

# A service that goes to the background: it starts daemon.py, waits until that listens, and ends.
DAEMON = """
import os
if os.fork():
    os._exit(0)
os.setsid()
open("pid", "w").write(str(os.getpid()))
"""
START_DAEMON = """
import socket, subprocess, sys, time
subprocess.run([sys.executable, "-S", "daemon.py", sys.argv[1]])
while True:
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        break
    except OSError:
        time.sleep(0.01)
"""


def is_alive(group: int) -> bool:
    """Whether a process of the group is left that is not merely dead and waiting to be reaped."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.01)
    return True


class Stage:
    """Services under test, what they told, and their clean-up."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.events: list[AnyEvent] = []
        self.fresh: queue.SimpleQueue[AnyEvent] = queue.SimpleQueue()
        self.services: Services

    def set(
        self, *services: Service, names: tuple[str, ...] = (), env: dict[str, str] | None = None, **run: Any
    ) -> Services:
        plan = Plan(project=str(self.directory), phases=(), services=services, **run)
        self.services = Services(
            plan,
            names or [service.name for service in services],
            env={"PATH": os.environ["PATH"], "HARNESS_RUN_ID": "RUN", **(env or {})},
            files_log=self.log,
            notify=self.notify,
            run_id="RUN",
            secrets=Secrets(),
        )
        return self.services

    def notify(self, event: AnyEvent) -> None:
        self.events.append(event)
        self.fresh.put(event)

    def log(self, name: str) -> Path:
        return self.directory / f"service_{name}.log"

    def wait_for(self, kind: type, service: str) -> Any:
        """The next event of that kind about that service, without having looked for it before it came."""
        deadline = time.monotonic() + PATIENCE
        while True:
            event = self.fresh.get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(event, kind) and getattr(event, "service", None) == service:
                return event

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def names(self, kind: type) -> list[str]:
        return [event.service for event in self.of(kind)]

    def story(self, name: str) -> list[str]:
        return [type(event).__name__ for event in self.events if getattr(event, "service", None) == name]

    @property
    def pids(self) -> list[int]:
        return [event.pid for event in self.of(ServiceStarted)]

    def nothing_is_left(self) -> bool:
        """Soon, that is: what has been sent SIGKILL may take a moment to end."""
        started = self.of(ServiceStarted)
        return eventually(lambda: not any(is_alive(event.pid) or is_taken(event.port) for event in started))

    def start_elsewhere(self) -> "queue.SimpleQueue[Exception | None]":
        """`start` in a thread; what it raised comes through the queue."""
        ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

        def start() -> None:
            try:
                self.services.start()
            except Exception as error:
                ended.put(error)
            else:
                ended.put(None)

        threading.Thread(target=start, daemon=True).start()
        return ended


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.services.hurry()
    made.services.stop()
    assert made.nothing_is_left()


@contextlib.contextmanager
def stranger(status: int = 200) -> Iterator[int]:
    """A server that is none of the services: it answers every GET with that status. Gives its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def choose(monkeypatch: pytest.MonkeyPatch, *first: int) -> None:
    """Let these ports be chosen first: as if they had been free then."""
    given, real = list(first), PortChooser.choose
    monkeypatch.setattr(PortChooser, "choose", lambda self: given.pop(0) if given else real(self))


class TestOrder:
    def test_a_service_starts_when_what_it_depends_on_is_ready_and_stops_before_it(self, stage: Stage) -> None:
        services = stage.set(
            Service(name="web", command=SAYS_UP, ready=UP, depends_on=("api",)),
            Service(name="api", command=SAYS_UP, ready=UP, depends_on=("db",)),
            Service(name="db", command=SAYS_UP, ready=UP),
        )
        services.start()
        told = [(type(event).__name__, getattr(event, "service", "")) for event in stage.events]
        steps = ("ServiceStarted", "ServiceReady")
        assert told == [(step, name) for name in ("db", "api", "web") for step in steps]
        services.stop()
        assert stage.names(ServiceStopped) == ["web", "api", "db"]

    def test_independent_services_start_and_stop_side_by_side(self, stage: Stage) -> None:
        # Each is ready, and ends, only when the other has come so far: one after the other they never would.
        meet = "touch $1-$2; until [ -e $1-$3 ]; do sleep 0.01; done"
        body = f"meet() {{ {meet}; }}; meet start ME OTHER; trap 'meet stop ME OTHER; exit' TERM; echo up; "
        body += "while true; do sleep 0.01; done"
        services = stage.set(
            *(
                Service(name=me, command=body.replace("ME", me).replace("OTHER", other), ready=UP, grace=PATIENCE)
                for me, other in (("left", "right"), ("right", "left"))
            )
        )
        services.start()
        services.stop()
        assert sorted(stage.names(ServiceStopped)) == ["left", "right"]
        assert stage.nothing_is_left()

    def test_only_the_named_and_what_they_depend_on_are_started(self, stage: Stage) -> None:
        services = stage.set(
            Service(name="db", command=SAYS_UP, ready=UP),
            Service(name="api", command=SAYS_UP, ready=UP, depends_on=("db",)),
            Service(name="mail", command=SAYS_UP, ready=UP),
            names=("api",),
        )
        services.start()
        assert stage.names(ServiceReady) == ["db", "api"]
        assert sorted(services.values) == ["api", "db"]


class TestReady:
    def test_http_waits_for_an_answer_below_400(self, stage: Stage) -> None:
        service = Service(
            name="api", command=SERVE, ready=Ready(http="/health", timeout=PATIENCE), env={"REFUSALS": "2"}
        )
        stage.set(service).start()
        assert stage.story("api") == ["ServiceStarted", "ServiceReady"]
        log = stage.log("api").read_text()
        assert log.count('"GET /health HTTP/1.1" 503') == 2
        assert log.count('"GET /health HTTP/1.1" 200') == 1

    def test_tcp_waits_for_a_connection(self, stage: Stage) -> None:
        services = stage.set(Service(name="api", command=SERVE, ready=Ready(tcp=True, timeout=PATIENCE)))
        services.start()
        assert is_taken(int(services.values["api"]["port"]))

    def test_log_waits_for_a_line(self, stage: Stage) -> None:
        command = f"echo not yet up; touch said; until [ -e go ]; do sleep 0.01; done; {SAYS_UP}"
        stage.set(Service(name="api", command=command, ready=UP))
        ended = stage.start_elsewhere()
        stage.wait_for(ServiceStarted, "api")
        assert eventually((stage.directory / "said").exists)
        assert stage.story("api") == ["ServiceStarted"]
        (stage.directory / "go").touch()
        assert ended.get(timeout=PATIENCE) is None

    def test_without_a_condition_it_is_ready_at_once(self, stage: Stage) -> None:
        stage.set(Service(name="api", command=FOREVER)).start()
        assert stage.story("api") == ["ServiceStarted", "ServiceReady"]

    def test_what_a_previous_process_logged_does_not_count(self, stage: Stage) -> None:
        stage.log("api").write_text("up\n")
        stage.set(Service(name="api", command=FOREVER, ready=Ready(log="^up$", timeout=0.1)))
        with pytest.raises(InfrastructureError, match="was not ready within"):
            stage.services.start()


class TestValues:
    def test_ports_differ_and_stand_in_commands_and_variables(self, stage: Stage) -> None:
        command = (
            'echo "{port} $DB $DB_URL $HARNESS_RUN_ID $HARNESS_SERVICE ${port-braces} $(pwd)"; echo up; ' + FOREVER
        )
        (stage.directory / "sub").mkdir()
        services = stage.set(
            Service(name="db", command=SAYS_UP, ready=UP),
            Service(
                name="api",
                command=command,
                ready=UP,
                directory="sub",
                env={"DB": "{db.host}:{db.port}", "DB_URL": "{db.url}"},
                depends_on=("db",),
            ),
        )
        services.start()
        db, api = services.values["db"]["port"], services.values["api"]["port"]
        assert db != api
        assert services.values["db"] == {"port": db, "host": "127.0.0.1", "url": f"http://127.0.0.1:{db}"}
        said = stage.log("api").read_text().splitlines()[0]
        sub = os.path.realpath(stage.directory / "sub")
        assert said == f"{api} 127.0.0.1:{db} http://127.0.0.1:{db} RUN api braces {sub}"
        assert [(event.port, event.log) for event in stage.of(ServiceStarted)] == [
            (int(db), str(stage.log("db"))),
            (int(api), str(stage.log("api"))),
        ]

    def test_the_log_is_appended_to(self, stage: Stage) -> None:
        stage.log("api").write_text("before\n")
        stage.set(Service(name="api", command=f"echo out; echo err >&2; {SAYS_UP}", ready=UP)).start()
        assert stage.log("api").read_text() == "before\nout\nerr\nup\n"


class TestTrouble:
    """A start that fails: the message says what to do, and nothing that had started is left."""

    def fails(self, stage: Stage) -> InfrastructureError:
        with pytest.raises(InfrastructureError) as caught:
            stage.services.start()
        assert stage.nothing_is_left()
        assert caught.value.cure
        return caught.value

    def test_not_ready_in_time(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        with stranger(503) as port:  # so that there is an answer from the first question on
            choose(monkeypatch, port)
            stage.set(Service(name="api", command=f"echo slow; {FOREVER}", ready=Ready(http="/health", timeout=0.2)))
            with pytest.raises(InfrastructureError) as caught:
                stage.services.start()
            assert caught.value.message.splitlines() == [
                'service "api" was not ready within 0.2 s, still waiting for GET /health: 503 Service Unavailable',
                f"the end of its log: {stage.log('api')}",
                "  slow",
            ]
            assert "ready.timeout" in caught.value.cure
            assert stage.story("api") == ["ServiceStarted", "ServiceFailed"]
            assert not is_alive(stage.pids[0])
            stage.events.clear()  # its port is the stranger's

    def test_ended_early_with_the_end_of_its_log(self, stage: Stage) -> None:
        command = "for i in $(seq 20); do echo line $i; done; printf '\\033[31mred\\007\\n'; exit 3"
        stage.set(Service(name="api", command=command, ready=Ready(http="/", timeout=1000)))
        error = self.fails(stage)
        heading, log, *tail = error.message.splitlines()
        assert heading == 'service "api" ended with exit code 3 before it was ready'
        assert log == f"the end of its log: {stage.log('api')}"
        assert tail == [f"  line {i}" for i in range(12, 21)] + ["   [31mred"]
        failed = stage.of(ServiceFailed)
        assert [(event.service, event.reason, event.log) for event in failed] == [
            ("api", "ended with exit code 3 before it was ready", str(stage.log("api")))
        ]

    def test_ended_early_by_a_signal(self, stage: Stage) -> None:
        stage.set(Service(name="api", command="kill -SEGV $$", ready=Ready(http="/", timeout=1000)))
        assert "ended with signal SIGSEGV before it was ready" in self.fails(stage).message

    @pytest.mark.parametrize(
        "service",
        [Service(name="api", command=("no-such-program",)), Service(name="api", command="true", directory="no-such")],
    )
    def test_it_cannot_be_started(self, stage: Stage, service: Service) -> None:
        stage.set(service)
        message = self.fails(stage).message
        assert message.startswith('service "api" could not be started: ')
        assert "no-such" in message
        assert f"its log is empty: {stage.log('api')}" in message

    def test_the_others_are_stopped(self, stage: Stage) -> None:
        stage.set(
            Service(name="db", command=SERVE, ready=Ready(tcp=True, timeout=PATIENCE)),
            Service(name="slow", command=FOREVER, ready=Ready(log="never", timeout=1000)),
            Service(name="api", command="exit 1", ready=UP, depends_on=("db",)),
        )
        assert 'service "api"' in self.fails(stage).message
        assert stage.story("db") == ["ServiceStarted", "ServiceReady", "ServiceStopped"]
        assert stage.story("slow") == ["ServiceStarted", "ServiceStopped"]

    def test_one_that_goes_to_the_background_is_told_to_stay(self, stage: Stage) -> None:
        # Its port is its own: to try another one would only leave more of them behind.
        (stage.directory / "daemon.py").write_text(f"{DAEMON}\n{SERVER}")
        command = (sys.executable, "-S", "-c", START_DAEMON, "{port}")
        stage.set(Service(name="api", command=command, ready=Ready(log="never", timeout=1000)))
        try:
            with pytest.raises(InfrastructureError, match="ended with exit code 0") as caught:
                stage.services.start()
            assert "foreground" in caught.value.cure
            assert stage.story("api") == ["ServiceStarted", "ServiceFailed"]
        finally:
            os.kill(int((stage.directory / "pid").read_text()), signal.SIGKILL)
            assert stage.nothing_is_left()


class TestPorts:
    """A port that is taken between choosing and binding."""

    def test_one_that_ends_because_its_port_is_taken_gets_another(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with stranger() as port:
            choose(monkeypatch, port)
            services = stage.set(Service(name="api", command=SERVE, ready=Ready(log="never", timeout=1000)))
            ended = stage.start_elsewhere()
            first, second = (stage.wait_for(ServiceStarted, "api") for _ in range(2))
            assert first.port == port
            assert int(services.values["api"]["port"]) == second.port != port
            assert str(port) in stage.of(Warned)[0].message
            services.stop()
            assert isinstance(ended.get(timeout=PATIENCE), InfrastructureError)
            stage.events.remove(first)  # its port is the stranger's

    def test_the_answers_of_a_stranger_do_not_count(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        with stranger() as port:
            choose(monkeypatch, port)
            # Slow to start, so that the stranger answers first.
            command = f'[ {{port}} = {port} ] && {FOREVER}; exec "$PYTHON" -S -c "$SERVER" {{port}}'
            env = {"PYTHON": sys.executable, "SERVER": SERVER}
            stage.set(Service(name="api", command=command, env=env, ready=Ready(http="/", timeout=PATIENCE))).start()
            first, second = stage.of(ServiceStarted)
            assert (first.port, second.port) == (port, int(stage.services.values["api"]["port"]))
            assert not is_alive(first.pid)
            assert stage.story("api")[-1] == "ServiceReady"
            stage.events.remove(first)

    def test_it_is_tried_three_times(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        with stranger() as port:
            choose(monkeypatch, port, port, port)
            stage.set(Service(name="api", command=SERVE, ready=Ready(http="/", timeout=1000)))
            with pytest.raises(InfrastructureError, match="taken by another process, 3 times"):
                stage.services.start()
            assert [event.port for event in stage.of(ServiceStarted)] == [port] * 3
            assert not any(map(is_alive, stage.pids))
            stage.events.clear()


class TestLogs:
    def test_secrets_of_its_own_and_too_much(self, stage: Stage) -> None:
        service = Service(
            name="api",
            command=f"echo $API_KEY; seq 100000; {SAYS_UP}",
            ready=UP,
            env={"API_KEY": "key-{port}-of-it"},
        )
        with pytest.raises(InfrastructureError, match="ended with exit code 0"):
            stage.set(
                msgspec.structs.replace(service, command="echo $API_KEY; seq 100000; echo $API_KEY"), log_limit=100_000
            ).start()
        text = stage.log("api").read_text()
        assert text.startswith("***\n1\n2\n")
        assert text.endswith("\n100000\n***\n")
        assert "left out here: log_limit is 100 KB\n" in text
        assert len(text) <= 100_000

    def test_ready_by_a_line_that_its_log_has_no_room_for(self, stage: Stage) -> None:
        stage.set(Service(name="api", command=f"seq 100000; {SAYS_UP}", ready=UP), log_limit=100_000).start()
        assert stage.names(ServiceReady) == ["api"]

    def test_a_problem_with_its_log_is_told(self, stage: Stage) -> None:
        stage.log("api").symlink_to("/dev/full")
        services = stage.set(Service(name="api", command=f"echo up; touch said; {FOREVER}"))
        services.start()
        assert eventually((stage.directory / "said").exists)
        services.stop()
        assert [event.message for event in stage.of(Warned)] == [
            f"cannot write the log {stage.log('api')}: No space left on device"
        ]


class TestLife:
    def test_a_death_is_told_at_once_and_once(self, stage: Stage) -> None:
        services = stage.set(
            Service(name="db", command=SAYS_UP, ready=UP),
            Service(name="api", command=SAYS_UP, ready=UP, depends_on=("db",)),
        )
        services.start()
        os.kill(stage.pids[0], signal.SIGKILL)
        failed = stage.wait_for(ServiceFailed, "db")
        assert failed.reason == "ended with signal SIGKILL while it was needed"
        assert failed.log == str(stage.log("db"))
        services.stop()
        assert stage.story("db") == ["ServiceStarted", "ServiceReady", "ServiceFailed"]
        assert stage.story("api") == ["ServiceStarted", "ServiceReady", "ServiceStopped"]

    def test_what_a_dead_service_had_started_ends_with_it(self, stage: Stage) -> None:
        stage.set(Service(name="api", command="sleep 1000 & echo up; wait", ready=UP)).start()
        pid = stage.pids[0]
        os.kill(pid, signal.SIGKILL)
        stage.wait_for(ServiceFailed, "api")
        assert eventually(lambda: not is_alive(pid))

    def test_one_that_ends_while_it_is_stopped_has_not_failed(self, stage: Stage) -> None:
        services = stage.set(
            Service(name="api", command="trap 'exit 1' TERM; echo up; while :; do sleep 0.01; done", ready=UP)
        )
        services.start()
        services.stop()
        assert stage.story("api") == ["ServiceStarted", "ServiceReady", "ServiceStopped"]


class TestStop:
    def test_one_that_ignores_sigterm_is_killed_with_its_children(self, stage: Stage) -> None:
        services = stage.set(
            Service(name="api", command="trap '' TERM; sleep 1000 & echo up; wait; wait", ready=UP, grace=0.1)
        )
        services.start()
        services.stop()
        assert stage.nothing_is_left()

    def test_it_has_its_grace(self, stage: Stage) -> None:
        command = "trap 'sleep 0.2; touch tidy; exit' TERM; echo up; while :; do sleep 0.01; done"
        services = stage.set(Service(name="api", command=command, ready=UP, grace=PATIENCE))
        services.start()
        services.stop()
        assert (stage.directory / "tidy").exists()

    def test_hurry_cuts_a_stop_under_way_short(self, stage: Stage) -> None:
        command = "trap 'echo asked' TERM; echo up; while :; do sleep 0.01; done"
        services = stage.set(Service(name="api", command=command, ready=UP, grace=1000))
        services.start()
        stopping = threading.Thread(target=services.stop, daemon=True)
        stopping.start()
        assert eventually(lambda: "asked" in stage.log("api").read_text())
        services.hurry()
        stopping.join(PATIENCE)
        assert not stopping.is_alive()
        assert stage.nothing_is_left()

    def test_hurry_counts_for_a_stop_to_come(self, stage: Stage) -> None:
        command = "trap '' TERM; echo up; while :; do sleep 0.01; done"
        services = stage.set(Service(name="api", command=command, ready=UP, grace=1000))
        services.start()
        services.hurry()
        stopping = threading.Thread(target=services.stop, daemon=True)
        stopping.start()
        stopping.join(PATIENCE)
        assert not stopping.is_alive()

    def test_it_may_be_called_again_from_several_threads_and_without_a_start(self, stage: Stage) -> None:
        services = stage.set(*(Service(name=name, command=SAYS_UP, ready=UP) for name in ("api", "db", "web")))
        services.start()
        with ThreadPoolExecutor(4) as pool:
            for stopping in [pool.submit(services.stop) for _ in range(4)]:
                stopping.result(PATIENCE)
        services.stop()
        assert sorted(stage.names(ServiceStopped)) == ["api", "db", "web"]

        never_started = stage.set(Service(name="other", command=SAYS_UP))
        never_started.stop()
        assert stage.story("other") == []

    def test_nothing_starts_after_it(self, stage: Stage) -> None:
        services = stage.set(Service(name="api", command=SAYS_UP, ready=UP))
        services.stop()
        with pytest.raises(InfrastructureError, match="stopped while starting"):
            services.start()
        assert stage.events == []

    def test_the_trouble_of_one_does_not_keep_the_others(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        services = stage.set(
            Service(name="db", command=SAYS_UP, ready=UP),
            Service(name="api", command=SAYS_UP, ready=UP, depends_on=("db",)),
            Service(name="odd", command=SAYS_UP, ready=UP, depends_on=("db",)),
        )
        services.start()

        def refuse() -> None:
            raise OSError("disk on fire")

        def break_down(**_: object) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(services._units["api"]._kind, "clean", refuse)
        monkeypatch.setattr(services._units["odd"], "stop", break_down)
        services.stop()
        assert stage.names(ServiceStopped) == ["api", "db"]
        warnings = sorted(event.message for event in stage.of(Warned))
        assert warnings == [
            'service "odd" could not be stopped: a bug',
            'what service "api" left behind could not be removed: disk on fire',
        ]
        monkeypatch.undo()


class TestAbort:
    """A start that is given up, while a service would take its time."""

    # Ready never: one says nothing, one accepts a connection and never answers.
    SILENT = Service(name="api", command=FOREVER, ready=Ready(log="never", timeout=1000), grace=0.1)
    MUTE = Service(
        name="api",
        command=(
            sys.executable,
            "-S",
            "-c",
            "import socket, sys\ns = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
            "c = s.accept()\nprint('asked', flush=True)\ns.accept()",
            "{port}",
        ),
        ready=Ready(http="/", timeout=1000),
        grace=0.1,
    )

    def test_from_another_thread(self, stage: Stage) -> None:
        services = stage.set(self.SILENT, Service(name="web", command=SAYS_UP, depends_on=("api",)))
        ended = stage.start_elsewhere()
        stage.wait_for(ServiceStarted, "api")
        services.stop()
        error = ended.get(timeout=PATIENCE)
        assert isinstance(error, InfrastructureError)
        assert "stopped while starting" in error.message
        assert stage.nothing_is_left()
        assert stage.story("api") == ["ServiceStarted", "ServiceStopped"]
        assert stage.story("web") == []

    def test_in_the_last_moment_before_a_process_begins(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        services = stage.set(Service(name="api", command=SAYS_UP, ready=UP))
        unit = services._units["api"]
        monkeypatch.setattr(unit._kind, "prepare", lambda _run: unit.interrupt())
        with pytest.raises(InfrastructureError, match="stopped while starting"):
            services.start()
        assert stage.events == []

    def test_one_that_is_ready_in_that_moment_is_not_told_as_ready(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        services = stage.set(Service(name="api", command=FOREVER))
        unit = services._units["api"]
        monkeypatch.setattr(unit._kind, "waiting_for", lambda _port: unit.interrupt() or "")
        with pytest.raises(InfrastructureError, match="stopped while starting"):
            services.start()
        assert stage.story("api") == ["ServiceStarted", "ServiceStopped"]

    def test_nothing_is_removed_while_it_is_being_made(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        services = stage.set(Service(name="api", command=SAYS_UP))
        begun, go, done = threading.Event(), threading.Event(), []

        def prepare(_run: object) -> None:
            begun.set()
            go.wait(PATIENCE)
            done.append("prepare")

        monkeypatch.setattr(services._units["api"]._kind, "prepare", prepare)
        monkeypatch.setattr(services._units["api"]._kind, "clean", lambda: done.append("clean"))
        stage.start_elsewhere()
        assert begun.wait(PATIENCE)
        stopping = threading.Thread(target=services.stop, daemon=True)
        stopping.start()
        stopping.join(0.1)  # time for it to go wrong
        go.set()
        stopping.join(PATIENCE)
        assert done[:2] == ["prepare", "clean"]

    def test_while_a_question_is_not_answered(self, stage: Stage) -> None:
        services = stage.set(self.MUTE)
        ended = stage.start_elsewhere()
        stage.wait_for(ServiceStarted, "api")
        assert eventually(lambda: "asked" in stage.log("api").read_text())
        services.stop()
        assert isinstance(ended.get(timeout=PATIENCE), InfrastructureError)
        assert stage.nothing_is_left()
