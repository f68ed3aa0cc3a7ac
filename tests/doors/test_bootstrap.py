"""The set-up of the Python environment: once, one at a time, redone when it is stale or was cut short."""

import hashlib
import os
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import BASE_PYTHON, ROOT, Home

DEADLINE = 60.0

# A Python that takes itself for another version; it is only ever asked with -c.
OLD_PYTHON = f"""#!/bin/sh
for code; do :; done
exec "{BASE_PYTHON}" -c 'import sys
sys.version_info = (3, 10, 99)
exec(sys.argv[1])' "$code"
"""
# A Python without ensurepip, as Debian's is. What exec.sh asks with -c is left alone.
NO_ENSUREPIP = """#!/bin/sh
[ "$1" = -c ] && exec "{python}" "$@"
shift
exec "{python}" -I -c 'import runpy, sys
sys.modules["ensurepip"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")' "$@"
"""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def mark(home: Home) -> Path:
    """A file in the environment that only survives where it is brought up to date in place."""
    file = home.path / ".venv/mine"
    file.touch()
    return file


# When it is made, and when it is made again


def test_set_up_happens_once(home: Home) -> None:
    _, first = home.open("local", "list")
    home.open("local", "list")
    assert len(home.calls("venv")) == 1
    assert first.splitlines()[0] == f"harness: setting up the Python environment with uv in {home.path}/.venv …"


def test_hashes_are_required_and_the_cache_is_tried_before_the_network(home: Home) -> None:
    home.open("local", "list")
    (install,) = home.calls("pip", "install")
    assert "--require-hashes" in install.split()
    assert "--offline" in install.split()


def test_network_is_used_where_the_cache_is_not_enough(home: Home) -> None:
    (home.control / "fail").write_text("--offline\n")
    home.open("local", "list")
    offline, online = home.calls("pip", "install")
    assert "--offline" in offline
    assert "--offline" not in online


def test_changed_lock_brings_the_environment_up_to_date_in_place(home: Home) -> None:
    home.open("local", "list")
    mine = mark(home)
    (home.path / "requirements.lock").write_text("# something\n")
    home.open("local", "list")
    assert len(home.calls("pip", "install")) == 2
    assert mine.exists()
    home.open("local", "list")
    assert len(home.calls("pip", "install")) == 2


def test_environment_made_by_hand_is_kept(home: Home) -> None:
    home.open("local", "list")
    (home.path / ".venv/harness.stamp").unlink()
    mine = mark(home)
    home.open("local", "list")
    assert len(home.calls("pip", "install")) == 2
    assert mine.exists()


def test_moved_home_gets_a_new_environment(home: Home, tmp_path: Path) -> None:
    home.open("local", "list")
    mark(home)
    moved = tmp_path / "moved"
    home.path.rename(moved)
    core, _ = home.call(moved / "exec.sh", "local", "list")
    assert core["python"] == str(moved / ".venv/bin/python")
    assert not (moved / ".venv/mine").exists()
    home.call(moved / ".venv/bin/harness", "list")


def test_environment_whose_python_has_gone_is_made_again(home: Home) -> None:
    home.open("local", "list")
    mine = mark(home)
    python = home.path / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/no/such/python")
    home.open("local", "list")
    assert not mine.exists()


def test_environment_with_a_python_too_old_is_made_again(home: Home) -> None:
    home.open("local", "list")
    mine = mark(home)
    python = home.path / ".venv/bin/python"
    python.unlink()
    python.write_text(OLD_PYTHON)
    python.chmod(0o755)
    (home.path / "requirements.lock").write_text("# something\n")
    home.open("local", "list")
    assert not mine.exists()


def test_copy_of_the_harness_in_the_environment_gives_way_to_the_link(home: Home) -> None:
    home.open("local", "list")
    (link,) = (home.path / ".venv").glob("lib/python*/site-packages/harness")
    link.unlink()
    link.mkdir()
    (link / "__main__.py").write_text("raise SystemExit('an installed copy')")
    (home.path / "requirements.lock").write_text("# something\n")
    home.open("local", "list")
    assert link.readlink() == home.path / "harness"


def test_environment_kept_elsewhere_stays_there(home: Home, tmp_path: Path) -> None:
    (home.path / ".venv").symlink_to(tmp_path / "elsewhere")
    home.open("local", "list")
    assert (home.path / ".venv").is_symlink()
    assert (tmp_path / "elsewhere/harness.stamp").exists()


# Two at once, and one that is cut short


def test_two_first_runs_at_once_make_one_environment(home: Home) -> None:
    home.close_gate()
    first = home.start(home.path / "exec.sh", "local", "list")
    wait_until((home.control / "waiting").exists)
    second = home.start(home.path / "exec.sh", "local", "list")
    assert second.stderr.readline() == "harness: waiting for another set-up of the Python environment …\n"
    home.open_gate()
    for process in (first, second):
        out, err = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, err
        assert '"list"' in out
    assert len(home.calls("venv")) == len(home.calls("pip", "install")) == 1


def test_killed_set_up_is_redone_but_not_before_its_last_child_has_ended(home: Home) -> None:
    home.close_gate()
    killed = home.start(home.path / "exec.sh", "local", "list")
    wait_until((home.control / "waiting").exists)
    mine = mark(home)
    killed.kill()
    killed.wait()
    second = home.start(home.path / "exec.sh", "local", "list")
    # The fake uv is still there, and could still write.
    assert second.stderr.readline() == "harness: waiting for another set-up of the Python environment …\n"
    assert mine.exists()
    home.open_gate()
    _, err = second.communicate(timeout=DEADLINE)
    assert second.returncode == 0, err
    assert not mine.exists()
    assert len(home.calls("venv")) == 2
    for pipe in (killed.stdout, killed.stderr):
        pipe.close()


def test_update_that_was_killed_leaves_no_stamp_of_what_was_before(home: Home) -> None:
    home.open("local", "list")
    lock = home.path / "requirements.lock"
    before = lock.read_text()
    lock.write_text("# something\n")
    home.close_gate()
    process = home.start(home.path / "exec.sh", "local", "list")
    wait_until((home.control / "waiting").exists)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (home.control / "gate").unlink()
    lock.write_text(before)
    home.open("local", "list")
    assert len(home.calls("venv")) == 2


def test_interrupt_ends_it_as_a_signal_and_without_a_traceback(home: Home) -> None:
    home.close_gate()
    process = home.start(home.path / "exec.sh", "local", "list")
    wait_until((home.control / "waiting").exists)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in err
    (home.control / "gate").unlink()
    home.open("local", "list")


# What the user can mend: one clear message, exit code 3


def test_failure_of_uv_is_shown_and_the_next_run_starts_anew(home: Home) -> None:
    (home.control / "fail").write_text("--require-hashes\n")
    _, err = home.open("local", "list", exit_code=3)
    _, error, *tail = err.splitlines()
    assert error.startswith(f"error: {home.bin}/uv pip install")
    assert error.endswith("failed with exit code 9")
    assert tail == ["  complaint 1", "  complaint 2", "  complaint 3"]
    mine = mark(home)
    (home.control / "fail").unlink()
    home.open("local", "list")
    assert not mine.exists()


def test_no_python(home: Home) -> None:
    (home.bin / "python3").unlink()
    _, err = home.open("local", "list", exit_code=3)
    (line,) = err.splitlines()
    assert line.startswith("error: Python 3.11 or newer is needed (none was found): install one")
    assert "HARNESS_PYTHON" in line


def test_python_too_old(home: Home) -> None:
    home.add_tool("python3", OLD_PYTHON)
    _, err = home.open("local", "list", exit_code=3)
    (line,) = err.splitlines()
    assert line.startswith("error: Python 3.11 or newer is needed (python3 is 3.10.99): install one")
    assert not (home.path / ".venv").exists()


def test_newer_python_beside_one_too_old(home: Home) -> None:
    home.add_tool("python3", OLD_PYTHON)
    home.add_tool("python3.13", "#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n")
    (home.bin / "python3.12").symlink_to(BASE_PYTHON)
    _, err = home.open("local", "list")
    assert "set up in" in err


def test_python_that_only_uv_knows(home: Home) -> None:
    (home.bin / "python3").unlink()
    (home.control / "managed").write_text(f"{BASE_PYTHON}\n")
    home.open("local", "list")
    assert home.calls("python", "find")


def test_named_python_is_used(home: Home, tmp_path: Path) -> None:
    (home.bin / "python3").unlink()
    named = tmp_path / "my python"
    named.symlink_to(BASE_PYTHON)
    home.open("local", "list", env=home.env(HARNESS_PYTHON=str(named)))


@pytest.mark.parametrize(("script", "said"), [(None, "HARNESS_PYTHON={} does not run"), (OLD_PYTHON, "{} is 3.10.99")])
def test_named_python_is_not_replaced_by_another(home: Home, script: str | None, said: str) -> None:
    named = home.control / "named"
    if script:
        named = home.add_tool("named", script)
    _, err = home.open("local", "list", env=home.env(HARNESS_PYTHON=str(named)), exit_code=3)
    assert f"error: Python 3.11 or newer is needed ({said.format(named)}): install one" in err


def test_neither_uv_nor_ensurepip(home: Home) -> None:
    (home.bin / "uv").unlink()
    home.add_tool("python3", NO_ENSUREPIP.format(python=BASE_PYTHON))
    _, err = home.open("local", "list", exit_code=3)
    _, line = err.splitlines()
    assert "has no ensurepip, and there is no uv: install one of them (apt install python3." in line


def test_home_that_cannot_be_written(home: Home) -> None:
    (home.path / ".harness").touch()  # a directory cannot be made there, not even by root
    _, err = home.open("local", "list", exit_code=3)
    (line,) = err.splitlines()
    assert line.startswith("error: the Python environment cannot be set up: ")
    assert str(home.path / ".harness") in line


def test_missing_lock_file(home: Home) -> None:
    (home.path / "requirements.lock").unlink()
    _, err = home.open("local", "list", exit_code=3)
    assert err.splitlines()[-1].startswith("error: the Python environment cannot be set up: ")
    assert "requirements.lock" in err


# For real


@pytest.mark.slow
def test_pip_installs_everything_of_the_real_lock(home: Home) -> None:
    (home.bin / "uv").unlink()
    lock = (ROOT / "requirements.lock").read_text()
    (home.path / "requirements.lock").write_text(lock)
    (home.path / "harness/__main__.py").write_text("import click, msgspec, psutil, rich\nprint('{}')\n")
    settings = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "XDG_", "HOME"))}
    home.open("local", "list", env=home.env(**settings))


@pytest.mark.slow
@pytest.mark.parametrize("right", [True, False])
def test_pip_installs_only_what_has_the_hash_of_the_lock(home: Home, right: bool) -> None:
    (home.bin / "uv").unlink()
    wheel = home.control / "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("tiny.py", "")
        file.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
        file.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("tiny-1.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest() if right else "0" * 64
    (home.path / "requirements.lock").write_text(f"tiny==1 --hash=sha256:{digest}\n")
    (home.path / "harness/__main__.py").write_text("import tiny\nprint('{}')\n")
    env = home.env(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(home.control), PIP_CONFIG_FILE="/dev/null")
    _, err = home.open("local", "list", env=env, exit_code=0 if right else 3)
    assert right or "DO NOT MATCH THE HASHES" in err
