"""Cases 39 and 40: a port that somebody else takes first, and services that die."""

import os
import signal
import socket
import sys

from faults.stage import Stage

from harness.events import ServiceReady, ServiceStarted, decode

# The first time it waits between learning of its port and binding it, until the test has taken it.
SERVICE = """
import http.server, pathlib, socketserver, sys, time
port = int(sys.argv[1])
if not pathlib.Path("wanted").exists():
    pathlib.Path("wanted.new").write_text(str(port))
    pathlib.Path("wanted.new").rename("wanted")
    while not pathlib.Path("taken").exists():
        time.sleep(0.01)
socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
PLAN = """
    [[services]]
    name = "web"
    command = "exec {python} service.py {{port}}"
    ready = {{ http = "/" }}

    [[phases]]
    name = "p"
    [[phases.groups]]
    name = "asks"
    command = "{command}"
    env = {{ PORT = "{{web.port}}" }}
    [[phases.groups]]
    name = "other"
    command = "{command}"
    env = {{ PORT = "{{web.port}}" }}
"""


def test_case_39_a_port_that_is_taken_before_it_is_bound(stage: Stage) -> None:
    stage.write("service.py", SERVICE)
    stage.plan(PLAN.format(python=sys.executable, command="exec 3<>/dev/tcp/127.0.0.1/$PORT"))
    process = stage.start("test")
    stage.await_file("wanted")
    port = int((stage.directory / "wanted").read_text())
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen()
        stage.write("taken", "")
        ran = stage.finish(process)
    assert (ran.code, set(ran.statuses.values())) == (0, {"passed"}), ran.stdout
    started = [stamped.data for stamped in ran.events if isinstance(stamped.data, ServiceStarted)]
    assert started[0].port == port
    assert started[-1].port != port
    stage.judge()


def test_case_40_the_victims_of_a_service_that_dies_are_errors(stage: Stage) -> None:
    (stage.directory / "wanted").touch()
    stage.write("service.py", "print('the last words of the service', flush=True)\n" + SERVICE)
    stage.plan(PLAN.format(python=sys.executable, command="exec sleep 1000"))
    process = stage.start("test", "--parallel", "--jobs", "1")
    stage.await_event(ServiceReady)
    stage.await_running(1)
    events = [decode(line).data for line in stage.newest().files.events.read_bytes().split(b"\n")[:-1]]
    (service,) = [event for event in events if isinstance(event, ServiceStarted)]
    os.kill(service.pid, signal.SIGKILL)
    ran = stage.finish(process)
    assert ran.code == 3, "the machine, not the tests"
    assert set(ran.statuses.values()) == {"error"}
    assert "service web" in ran.status_file("asks")["REASON"]
    assert "the last words of the service" in ran.stdout
    stage.judge()


def test_case_40_a_service_that_does_not_start(stage: Stage) -> None:
    stage.write("service.py", "print('no such table'); raise SystemExit(4)")
    stage.plan(PLAN.format(python=sys.executable, command="true"))
    ran = stage.run("test", "--parallel")
    assert ran.code == 3
    assert set(ran.statuses.values()) == {"error"}
    assert "no such table" in ran.stdout
    stage.judge()


def test_case_39_ports_for_tests_are_those_that_nobody_has(stage: Stage) -> None:
    """Two runs at once, whose groups each bind what they were given."""
    stage.write(
        "binds.py",
        """
        import os, socket, time
        server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
        time.sleep(0.2)
        """,
    )
    command = f"exec {sys.executable} -S binds.py"
    stage.groups(*[command] * 6, head="[isolation.ports]", more='isolate = "ports"')
    both = [stage.start("test", "--parallel", "--jobs", "6") for _ in range(2)]
    for process in both:
        ran = stage.finish(process)
        assert ran.code == 0, ran.stdout
    stage.judge()
