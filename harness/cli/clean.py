"""`clean`: removes what old runs left in the log directory, and the caches.

A run's files are known by its id, and its id by its directory `run_ID`: a file that no such directory speaks for is
somebody else's. The directory goes last, so that a clean which was cut short can be done again. A run that goes on
loses nothing, and while there is one the caches stay.
"""

import re
import shutil
from pathlib import Path

import click

from harness.cli.door import Door, log_dir_option, out, pass_door
from harness.cli.runs import is_alive
from harness.errors import InfrastructureError
from harness.files import RunFiles, all_runs
from harness.reporters.text import plural, printable

CACHE = Path(".harness", "cache")


@click.command("clean", epilog="\b\nExamples:\n  ./exec.sh local clean\n  ./exec.sh local clean --keep 10")
@click.option("--keep", type=click.IntRange(min=0), default=0, metavar="N", help="Keep the newest N runs.")
@log_dir_option
@pass_door
def clean(door: Door, keep: int, log_dir: Path | None) -> int:
    """Remove the logs and reports of runs that have ended, and the caches."""
    directory = door.log_dir(log_dir)
    runs = all_runs(directory)
    running = [files for files in runs if is_alive(files)]
    kept = [files for place, files in enumerate(runs) if place < keep or files in running]
    try:
        for files in runs:
            if files not in kept:
                remove_run(files)
        if runs and not kept:
            runs[0].test_report.unlink(missing_ok=True)
        if not running and (door.project / CACHE).is_dir():
            shutil.rmtree(door.project / CACHE)
    except OSError as error:
        raise InfrastructureError(f"cannot remove {error.filename}: {error.strerror}") from error
    words = [f"removed {plural(len(runs) - len(kept), 'run')} from {printable(str(directory))}"]
    if kept:
        words.append(f"kept {len(kept)}")
    if running:
        words.append(f"{plural(len(running), 'run')} still going on")
    out().write([", ".join(words)])
    return 0


def remove_run(files: RunFiles) -> None:
    """Everything that bears the run's id, and its directory. Raises OSError."""
    run_id = re.escape(files.run_id)
    name = rf".+_{run_id}\.log|\..+_status_{run_id}"
    # Of an atomic write that was killed, the temporary file is left.
    ours = re.compile(rf"{name}|\.(?:{name})\.[^.]+\.tmp")
    for path in files.log_dir.iterdir():
        if ours.fullmatch(path.name) and not path.is_dir():
            path.unlink()
    shutil.rmtree(files.run_dir)
