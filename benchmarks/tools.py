"""The tools that the harness is measured beside, installed where they are missing, and their versions.

Python packages go into a virtual environment of the benchmarks' own, in CACHE, pinned; bats comes from npm into the
same directory; the rest from the system's packages where this is root. What cannot be had is None: its row says so.
"""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from harness import __version__

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".harness" / "bench"

TEST_PACKAGES = ("pytest==9.2.0", "pytest-xdist==3.8.0")
HEAVY_PACKAGES = ("sqlalchemy==2.1.9", "numpy==2.4.6", "boto3==1.44.8")
PACKAGES = (*TEST_PACKAGES, *HEAVY_PACKAGES, "meson==1.12.1", "ninja==1.13.2")
BATS = "1.13.0"
DEBIAN = {"parallel": "parallel", "ctest": "cmake", "make": "make", "npm": "npm"}  # tool -> package


@cache
def installed() -> Path:
    """The directory of programs of the virtual environment that has PACKAGES. Raises CalledProcessError."""
    home = CACHE / "venv"
    stamp = home / "stamp"
    wanted = f"{home} {sys.version} {PACKAGES}"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        _quietly(sys.executable, "-m", "venv", str(home))
        _quietly(str(home / "bin/python"), "-m", "pip", "install", *PACKAGES)
        stamp.write_text(wanted)
    return home / "bin"


def python() -> str:
    return str(installed() / "python")


@cache
def tool(name: str) -> str | None:
    """The path of a program, installed if need be; None if it cannot be had."""
    if not shutil.which(name) and name in DEBIAN and os.geteuid() == 0 and shutil.which("apt-get"):
        try:
            _quietly("apt-get", "update")
            _quietly("apt-get", "install", "-y", "--no-install-recommends", DEBIAN[name])
        except subprocess.CalledProcessError:
            return None
    return shutil.which(name)


@cache
def meson() -> str | None:
    try:
        return str(installed() / "meson")
    except subprocess.CalledProcessError:
        return None


@cache
def bats() -> str | None:
    program = CACHE / "npm" / "node_modules" / "bats" / "bin" / "bats"
    npm = tool("npm")
    if not program.exists() and npm:
        program.parents[3].mkdir(parents=True, exist_ok=True)
        try:
            _quietly(npm, "install", "--no-save", "--prefix", str(program.parents[3]), f"bats@{BATS}")
        except subprocess.CalledProcessError:
            return None
    return str(program) if program.exists() else None


def versions(*programs: str | None) -> dict[str, str]:
    """Of the harness, and of those of the programs that there are."""
    found = {"harness": " ".join(filter(None, [__version__, _commit()]))}
    for program in filter(None, programs):
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        number = re.search(r"\d[\d.]*", said)
        found[Path(program).name] = number[0].rstrip(".") if number else "?"
    return found


def package_versions(*packages: str) -> dict[str, str]:
    """Of Python packages that are pinned here."""
    return dict(package.split("==") for package in packages)


def _commit() -> str:
    """The last one that changed the harness itself, with a + if files differ from it; nothing outside git."""
    try:
        commit = _quietly("git", "-C", str(ROOT), "log", "-1", "--format=%h", "--", "harness").strip()
        return commit + ("+" if _quietly("git", "-C", str(ROOT), "status", "--porcelain", "harness") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _quietly(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
