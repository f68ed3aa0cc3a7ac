"""Processes, from start to end. Nothing else in the house imports subprocess.

`run` starts one process in a session of its own (stdin is /dev/null, stdout and stderr are one pipe) and stays with it,
in the calling thread, until it is gone. `Child` is a long-running process that nobody stays with (a service), and
`run_tool` a short helper whose answer is wanted (initdb, psql). `Leader` is what the first two start. What they leave
behind, `strays.py` takes in and `bearers.py` finds; what we would leave behind ourselves stands in `sessions.py`.

This room knows nothing of groups, logs or statuses, and must not decide what an ending means.
"""

from harness.process.child import Child
from harness.process.leader import Leader
from harness.process.pausing import standing_still
from harness.process.running import SIDE_VARIABLE, Control, Exit, Launch, run
from harness.process.sessions import Sessions, read_sessions
from harness.process.strays import Adoption, told
from harness.process.tool import ToolError, run_tool

__all__ = [
    "SIDE_VARIABLE",
    "Adoption",
    "Child",
    "Control",
    "Exit",
    "Launch",
    "Leader",
    "Sessions",
    "ToolError",
    "read_sessions",
    "run",
    "run_tool",
    "standing_still",
    "told",
]
