"""Signals as a terminal leaves them.

A shell has its background jobs ignore SIGINT, and nohup SIGHUP; what is ignored is inherited by all that the tests
start, and many of these are to be interrupted.
"""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
