"""process/spawn.py: posix_spawn and Popen start the same processes and fail with the same errors."""

import errno
import functools
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.process import spawn as module
from harness.process.spawn import spawn

SCRIPT = "#!/bin/sh\necho it\n"


@pytest.fixture(params=["posix_spawn", "Popen"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By which every test here starts its processes; the other would be noticed."""

    def other(*_: Any) -> int:
        raise AssertionError("started the other way")

    if request.param == "Popen":
        monkeypatch.setattr(module, "_GLIBC", None)
    elif module._GLIBC is None:
        pytest.skip("no glibc that can do it")
    else:
        monkeypatch.setattr(module, "_by_popen", other)
    return str(request.param)


def finished(*argv: str, **changes: Any) -> tuple[int, bytes]:
    """Exit code and output of a process."""
    reading, writing = os.pipe()
    try:
        arguments: dict[str, Any] = {"env": dict(os.environ), "directory": "/", "output": writing}
        pid = spawn(argv, **(arguments | changes))
    finally:
        os.close(writing)
    with open(reading, "rb") as output:  # noqa: PTH123
        told = output.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), told


def says(*argv: str, **changes: Any) -> bytes:
    code, told = finished(*argv, **changes)
    assert code == 0
    return told


def python(script: str, **changes: Any) -> bytes:
    return says(sys.executable, "-I", "-S", "-c", script, **changes)


def failure(*argv: str, **changes: Any) -> tuple[int | None, str | Path | None]:
    with pytest.raises(OSError) as caught:  # noqa: PT011  (its errno is looked at)
        finished(*argv, **changes)
    assert caught.value.strerror == os.strerror(caught.value.errno or 0)
    return caught.value.errno, caught.value.filename


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Path]:
    """Makes a program `it` in a directory of that name."""

    def make(name: str, text: str = SCRIPT, mode: int = 0o755) -> Path:
        file = tmp_path / name / "it"
        file.parent.mkdir()
        file.write_text(text)
        file.chmod(mode)
        return file

    return make


Make = Callable[..., Path]


class TestProcess:
    def test_leads_a_session_and_a_group_of_its_own(self) -> None:
        assert python("import os; print(os.getpid() == os.getsid(0) == os.getpgid(0))") == b"True\n"

    def test_pid(self) -> None:
        with open(os.devnull, "wb") as output:  # noqa: PTH123
            pid = spawn(["true"], env=dict(os.environ), directory="/", output=output.fileno())
        assert os.waitpid(pid, 0) == (pid, 0)

    def test_nothing_to_read_and_one_place_to_write(self) -> None:
        before, (reading, writing) = os.dup(0), os.pipe()
        os.write(writing, b"what the harness might read\n")
        os.dup2(reading, 0)
        try:
            assert says("sh", "-c", "read it; echo out; echo err >&2; echo $it") == b"out\nerr\n\n"
        finally:
            os.dup2(before, 0)
            for descriptor in (before, reading, writing):
                os.close(descriptor)

    def test_arguments_and_variables_are_bytes(self) -> None:
        odd = os.fsdecode(b"\xff\xfe\n ")
        script = "import os, sys; print(os.fsencode(sys.argv[1]), sorted(os.environb.items())[-3:])"
        told = says(sys.executable, "-I", "-S", "-c", script, odd, env={"X": odd, "Y": "", odd: "C=D"})
        variables = [(b"X", b"\xff\xfe\n "), (b"Y", b""), (b"\xff\xfe\n ", b"C=D")]
        assert told.decode() == f"{variables[0][1]} {variables}\n"

    def test_the_first_argument_is_as_given(self) -> None:
        assert says("sh", "-c", "tr '\\0' ' ' </proc/$$/cmdline; :") == b"sh -c tr '\\0' ' ' </proc/$$/cmdline; : "

    def test_no_variables(self) -> None:
        assert says("/usr/bin/env", env={}) == b""


class TestSignals:
    @pytest.fixture(autouse=True)
    def restored(self) -> Iterator[None]:
        before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
        yield
        for number, handler in before.items():
            signal.signal(number, handler)

    def test_the_ignored_stay_so_but_for_pythons_own_and_the_handled_are_reset(self) -> None:
        assert signal.getsignal(signal.SIGPIPE) == signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGUSR2, lambda *_: None)
        status = says("cat", "/proc/self/status")
        ignored, caught = (int(_line(status, name), 16) for name in (b"SigIgn", b"SigCgt"))
        bits = {number: 1 << (number - 1) for number in signal.valid_signals()}
        assert ignored & bits[signal.SIGUSR1]
        assert not ignored & (bits[signal.SIGUSR2] | bits[signal.SIGPIPE] | bits[signal.SIGXFSZ])
        assert caught == 0

    def test_the_mask_is_inherited(self) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        try:
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
            status = says("cat", "/proc/self/status")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert int(_line(status, b"SigBlk"), 16) == sum(1 << (number - 1) for number in mask)


def _line(status: bytes, name: bytes) -> bytes:
    return next(line.split()[1] for line in status.splitlines() if line.startswith(name))


class TestDescriptors:
    def test_the_inherited_and_no_others(self) -> None:
        pipes = [os.pipe() for _ in range(4)]
        inherited = sorted([pipes[1][0], pipes[2][1]])
        leaky = [pipes[0][0], pipes[2][0], pipes[3][1], os.dup2(pipes[0][0], 100)]
        for descriptor in leaky:
            os.set_inheritable(descriptor, True)
        try:
            assert _open_in_child() == [0, 1, 2]
            assert _open_in_child(inherited=inherited) == [0, 1, 2, *inherited]
            assert not any(map(os.get_inheritable, inherited))
        finally:
            for descriptor in {leaky[-1], *(end for pipe in pipes for end in pipe)}:
                os.close(descriptor)

    def test_the_inherited_are_the_same_files(self, tmp_path: Path) -> None:
        with (tmp_path / "side").open("wb") as side:
            says("bash", "-c", f"echo hello >&{side.fileno()}", inherited=[side.fileno()])
        assert (tmp_path / "side").read_text() == "hello\n"


def _open_in_child(**changes: Any) -> list[int]:
    return sorted(map(int, says("sh", "-c", "ls /proc/$$/fd; :", **changes).split()))


class TestDirectory:
    def test_absolute_and_relative(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "in").mkdir()
        monkeypatch.chdir(tmp_path)
        for directory in (tmp_path / "in", str(tmp_path / "in"), "in", Path("in")):
            assert says("/bin/pwd", directory=directory).decode().strip() == str((tmp_path / "in").resolve())

    @pytest.mark.parametrize("argv", [["true"], ["/bin/true"], ["/no/such/program"], ["no-such-program"]])
    def test_missing(self, tmp_path: Path, argv: list[str]) -> None:
        assert failure(*argv, directory=tmp_path / "no") == (errno.ENOENT, tmp_path / "no")

    def test_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert failure("true", directory=str(tmp_path / "file")) == (errno.ENOTDIR, str(tmp_path / "file"))

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may enter any")
    def test_may_not_be_entered(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir(mode=0o600)
        assert failure("true", directory=tmp_path / "in") == (errno.EACCES, tmp_path / "in")


class TestPath:
    """Which file a name stands for."""

    def test_the_childs_own(self, program: Make) -> None:
        assert says("it", env={"PATH": f"/no/such:{program('a').parent}"}) == b"it\n"

    def test_the_first_wins(self, program: Make) -> None:
        first, second = program("a", "#!/bin/sh\necho a\n"), program("b", "#!/bin/sh\necho b\n")
        for path in (f"{first.parent}:{second.parent}", f":{second.parent}", f"../a:{second.parent}"):
            assert says("it", env={"PATH": path}, directory=first.parent) == b"a\n"

    @pytest.mark.parametrize(("path", "inside"), [("", "a"), (":/bin", "a"), ("a", ""), ("../a", "a"), ("./a/", "")])
    def test_relative_entries_are_seen_from_the_childs_directory(
        self, program: Make, tmp_path: Path, path: str, inside: str
    ) -> None:
        program("a")
        assert says("it", env={"PATH": path}, directory=tmp_path / inside) == b"it\n"

    def test_relative_entries_and_a_relative_directory(
        self, program: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program("a")
        monkeypatch.chdir(tmp_path)
        assert says("it", env={"PATH": "../a"}, directory="a") == b"it\n"

    def test_none(self) -> None:
        assert says("true", env={}) == b""

    def test_names_with_a_slash_are_not_looked_for(self, program: Make, tmp_path: Path) -> None:
        file = program("a")
        assert says("./it", env={"PATH": "/no"}, directory=file.parent) == b"it\n"
        assert says("a/it", env={"PATH": "/no"}, directory=tmp_path) == b"it\n"
        assert failure("./it", env={"PATH": str(file.parent)}, directory=tmp_path) == (errno.ENOENT, "./it")

    @pytest.mark.parametrize(
        ("text", "mode"),
        [(SCRIPT, 0o644), ("echo no first line\n", 0o755), ("#!/no/such/interpreter\n", 0o755)],
        ids=["not executable", "neither program nor script", "without its interpreter"],
    )
    def test_what_cannot_be_executed_is_passed_over(self, program: Make, text: str, mode: int) -> None:
        bad, good = program("bad", text, mode), program("good")
        assert says("it", env={"PATH": f"{bad.parent}:{good.parent}"}) == b"it\n"

    def test_what_is_installed_meanwhile_is_found(self, program: Make, tmp_path: Path) -> None:
        assert failure("it", env={"PATH": str(tmp_path / "a")}) == (errno.ENOENT, "it")
        assert says("it", env={"PATH": str(program("a").parent)}) == b"it\n"


class TestNotStarted:
    def test_missing(self) -> None:
        assert failure("/no/such/program") == (errno.ENOENT, "/no/such/program")
        assert failure("no-such-program") == (errno.ENOENT, "no-such-program")
        assert failure("it", env={"PATH": "/bin/sh:/no/such"}) == (errno.ENOENT, "it")
        assert failure("it", env={"PATH": "/no/such:/bin/sh"}) == (errno.ENOTDIR, "it")

    @pytest.mark.parametrize("found", [False, True], ids=["named", "found"])
    @pytest.mark.parametrize(
        ("text", "mode", "code"),
        [
            (SCRIPT, 0o644, errno.EACCES),
            ("echo no first line\n", 0o755, errno.ENOEXEC),
            ("#!/no/such/interpreter\n", 0o755, errno.ENOENT),
        ],
    )
    def test_cannot_be_executed(self, program: Make, text: str, mode: int, code: int, found: bool) -> None:
        file = program("a", text, mode)
        name = "it" if found else str(file)
        assert failure(name, env={"PATH": f"{file.parent}:/no/such"}) == (code, name)

    def test_the_first_that_was_there_is_to_blame(self, program: Make) -> None:
        unmarked, nothing = program("a", mode=0o644), program("b", "nothing\n")
        for files, code in [([unmarked, nothing], errno.EACCES), ([nothing, unmarked], errno.ENOEXEC)]:
            path = ":".join(str(file.parent) for file in files)
            assert failure("it", env={"PATH": f"/no/such:{path}:/no/such"}) == (code, "it")

    @pytest.mark.parametrize("name", ["/bin", "/bin/", ""])
    def test_a_directory(self, name: str) -> None:
        assert failure(name) == (errno.EACCES, name)

    def test_too_long(self) -> None:
        limit = resource.getrlimit(resource.RLIMIT_STACK)[0]
        count = 40 if limit == resource.RLIM_INFINITY else limit // 4 // 100_000 + 2
        assert failure("true", *["x" * 100_000] * count) == (errno.E2BIG, "true")

    @pytest.mark.parametrize(
        ("argv", "changes"),
        [
            (["true", "a\0b"], {}),
            (["tr\0ue"], {}),
            (["true"], {"env": {"A": "a\0b"}}),
            (["true"], {"env": {"A\0B": ""}}),
            (["true"], {"directory": "/\0"}),
        ],
    )
    def test_null_bytes(self, argv: list[str], changes: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="embedded null byte"):
            finished(*argv, **changes)

    def test_a_variable_that_cannot_be(self) -> None:
        with pytest.raises(ValueError, match="illegal environment variable name"):
            finished("true", env={"A=B": ""})

    def test_leaves_nothing(self) -> None:
        for argv in (["no-such-program"], ["/no/such/program"], ["/bin"]):
            failure(*argv)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)


def test_many_threads_at_once() -> None:
    """Each with output, arguments and variables of its own."""
    told: dict[int, bytes] = {}
    start = threading.Barrier(200)

    def one(number: int) -> None:
        start.wait()
        told[number] = says("sh", "-c", 'echo "$0 $N"', str(number), env={"PATH": "/bin:/usr/bin", "N": f"n{number}"})

    threads = [threading.Thread(target=functools.partial(one, number)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == {number: f"{number} n{number}\n".encode() for number in range(200)}


def test_what_posix_spawn_cannot_do_is_done_by_popen(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(module, "_GLIBC", None if sys.platform != "linux" else module._GLIBC)
    monkeypatch.setattr(module, "_by_popen", lambda *arguments: started.append(arguments) or 7)
    arguments: dict[str, Any] = {"env": {}, "directory": "/"}
    assert spawn(["true"], output=5, user=(1, 1), **arguments) == 7
    assert spawn(["true"], output=2, **arguments) == 7
    assert spawn(["true"], output=5, inherited=[7, 0], **arguments) == 7
    assert len(started) == 3
