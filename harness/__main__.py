"""`python -m harness` and the console script."""

import gc
import signal
import sys

# Nearly all that we make stays to the end, so the collector need not come for every 700 objects.
gc.set_threshold(2_000)
# Until the door stands, nobody could answer Ctrl-C with anything but a traceback.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from harness.cli.main import main  # noqa: E402 - after what holds for its loading too

if __name__ == "__main__":
    exit_code = main()
    gc.freeze()  # or Python would look through all of it once more before it ends
    sys.exit(exit_code)
