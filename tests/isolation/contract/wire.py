"""A wire to a server that breaks at a chosen step: at the nth thing that its clients say.

Clients of Postgres, Redis and HTTP speak and wait for the answer, so every chunk of bytes is one step of a protocol. At
the chosen one the connection is cut, or the client's process is killed: before the server has heard it, after it has
done it and its answer is lost, or while it is at it.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

How = Literal["before", "after", "meanwhile"]


@dataclass
class Wire:
    """Listens on `port` for a server on `target`. `said` counts the chunks since `breaks_at` was called."""

    target: int
    port: int = 0
    said: int = 0
    broken: bool = False
    _at: int = 0
    _how: How = "before"
    _pid: Callable[[], int] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def breaks_at(self, step: int, how: How, pid: Callable[[], int] | None = None) -> None:
        """From now on. `pid`: who is killed; None: the connection is cut. Step 0: never."""
        with self._lock:
            self.said, self.broken, self._at, self._how, self._pid = 0, False, step, how, pid

    def _breaks(self) -> bool:
        with self._lock:
            self.said += 1
            self.broken |= self.said == self._at
            return self.said == self._at

    def _kill(self) -> None:
        with self._lock:
            pid, self._pid = self._pid, None
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid(), signal.SIGKILL)

    def serve(self, client: socket.socket) -> None:
        """Carries one connection."""
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self.target)) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            mute = threading.Event()
            answers = threading.Thread(target=self._carry_answers, args=(server, client, mute))
            answers.start()
            try:
                self._carry_words(client, server, mute)
            finally:
                # Not closed before its thread has left it: the number may be another connection's by then.
                for end in (server, client):
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                answers.join()

    def _carry_words(self, client: socket.socket, server: socket.socket, mute: threading.Event) -> None:
        while data := client.recv(65536):
            if not self._breaks():
                server.sendall(data)
                continue
            if self._how == "before":
                self._kill()
                return
            mute.set()
            server.sendall(data)
            if self._how == "meanwhile":
                self._kill()
                return

    def _carry_answers(self, server: socket.socket, client: socket.socket, mute: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while (data := server.recv(65536)) and not mute.is_set():
                client.sendall(data)
            if not mute.is_set():
                client.shutdown(socket.SHUT_RDWR)
        if mute.is_set():  # also where there was no answer, because what was said was a goodbye
            self._kill()
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def wired(target: int) -> Iterator[Wire]:
    """A wire to the server on the port `target`, until the block is left."""
    wire = Wire(target)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        wire.port = listener.getsockname()[1]

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=wire.serve, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield wire
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # on Linux, wakes the accept
            thread.join()
