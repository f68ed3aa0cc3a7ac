"""`python -m harness` and the console script."""

import signal
import sys

# Until the door stands, nobody could answer Ctrl-C with anything but a traceback.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from harness.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
