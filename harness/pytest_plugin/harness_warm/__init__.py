"""The warm parent of pytest processes: it loads what they all load, once, and forks one for each attempt.

`python -m harness_warm CONTROL WORDS…` is `python -m pytest WORDS…` that stops where the collection would begin. There
it waits for requests at the socket CONTROL, and answers each with a fork of itself that goes on as the pytest that was
asked for: in a session of its own, with the output, the variables and the test files of the request. Nothing but
copies of memory is shared, so the parent may only load what would be the same in every process; wherever it is not,
the answer is why, and the harness starts a pytest of its own for that group.

    __main__.py     start, and the end of a child
    hooks.py        the hook in which the parent waits
    watching.py     what was read, drawn or opened while pytest was loaded
    preload.py      which modules the tests are going to import
    parent.py       the requests, and the fork
    child.py        a fork becomes a process of its own

The messages are JSON objects, each behind its length (8 bytes, big-endian):

    to the parent    {"tests": [PATH, …]}                          once: all that it is going to be asked for
    from the parent  {}  or {"cold": REASON}                       it is ready, or never will be
    from the parent  {"again": true}                               instead of any answer: it begins anew, with less
                                                               loaded ahead, and wants all that it was told again
    to the parent    {"tests": [PATH, …], "env": {…}}              with two or three descriptors: output, one from which
                                                               a child reads a byte before it goes on, test events
    from the parent  {"pid": NUMBER}  or {"cold": REASON}

It runs in the users' interpreter: the standard library and pytest (7 or later, Python 3.8 or later) alone. Linux only.
"""
