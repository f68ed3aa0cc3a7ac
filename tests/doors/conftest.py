"""A harness home in a temporary directory: the real doors and bootstrap, a fake core that reports how it was started,
a fake uv (so that a set-up takes a tenth of a second), and a PATH with nothing else on it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASE_PYTHON = Path(sys.executable).resolve()

CORE = """
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "pid": os.getpid(), "path": sys.path, "env": dict(os.environ),
                  "python": sys.executable, "directory": os.getcwd()}))
sys.exit(int(os.environ.get("CORE_EXIT", "0")))
"""

# What it is asked goes to `calls`; `pip install` waits on the pipe `gate` if there is one, and fails where `fail` says
# which of its arguments it does not like.
UV = """#!/bin/sh
echo "$@" >>"{control}/calls"
case $1 in
venv)
    for last; do :; done
    exec "{python}" -I -m venv --without-pip "$last"
    ;;
python)
    [ -f "{control}/managed" ] && exec cat "{control}/managed"
    exit 2
    ;;
pip)
    if [ -p "{control}/gate" ]; then
        : >"{control}/waiting"
        read -r line <"{control}/gate"
    fi
    if [ -f "{control}/fail" ]; then
        read -r word <"{control}/fail"
        case " $* " in *" $word "*) for i in 1 2 3; do echo "complaint $i"; done; exit 9 ;; esac
    fi
    ;;
esac
"""


class Home:
    """The temporary home and the tools on its PATH."""

    def __init__(self, path: Path, control: Path) -> None:
        self.path = path
        self.control = control
        self.bin = control / "bin"
        self.bin.mkdir(parents=True)
        for tool in ("bash", "readlink", "cat", "dirname"):
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)
        (self.bin / "python3").symlink_to(BASE_PYTHON)
        self.add_tool("uv", UV.format(control=control, python=BASE_PYTHON))
        (path / "harness").mkdir(parents=True)
        (path / "integration-tests").mkdir()
        (path / ".ci").mkdir()
        for name in ("exec.sh", "run_parallel_tests.sh", ".ci/run", "harness/bootstrap.py"):
            shutil.copy(ROOT / name, path / name)
        shutil.copy(ROOT / "integration-tests/run_parallel_tests.sh", path / "integration-tests", follow_symlinks=False)
        (path / "harness/__init__.py").touch()
        (path / "harness/__main__.py").write_text(CORE)
        (path / "requirements.lock").write_text("# nothing\n")
        (path / "harness.toml").touch()

    def add_tool(self, name: str, script: str) -> Path:
        tool = self.bin / name
        tool.unlink(missing_ok=True)
        tool.write_text(script)
        tool.chmod(0o755)
        return tool

    def env(self, **extra: str) -> dict[str, str]:
        return {"PATH": str(self.bin), "HOME": str(self.control), "LC_ALL": "C.UTF-8", **extra}

    def start(self, *argv: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> Any:
        return subprocess.Popen(
            [str(argument) for argument in argv],
            env=self.env() if env is None else env,
            cwd=cwd or self.control,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def call(self, *argv: str | Path, exit_code: int = 0, **options: Any) -> tuple[dict[str, Any], str]:
        """What the core reported (empty: it was not reached), and stderr."""
        with self.start(*argv, **options) as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == exit_code, err
        return (json.loads(out) if out else {}), err

    def open(self, *arguments: str, **options: Any) -> tuple[dict[str, Any], str]:
        return self.call(self.path / "exec.sh", *arguments, **options)

    def calls(self, *words: str) -> list[str]:
        """The calls of the fake uv that begin with these words."""
        log = self.control / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if line.split()[: len(words)] == list(words)]

    def close_gate(self) -> None:
        """From here on the fake `uv pip install` waits until `open_gate`."""
        os.mkfifo(self.control / "gate")

    def open_gate(self) -> None:
        gate = self.control / "gate"
        with gate.open("w") as pipe:  # blocks until the fake uv reads
            gate.unlink()
            pipe.write("go\n")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "a hôme", tmp_path / "control")
