"""A pytest plugin: fixtures and markers for tests that run side by side. `-p harness_fixtures`, or by its entry point.

It runs in the users' interpreter: the standard library and pytest (7 or later, Python 3.8 or later), imports within the
package relative, milliseconds to load. What needs psycopg or redis imports it when a test asks for it. It works with
and without the harness, under plain pytest and under pytest-xdist; docs/fixtures.md describes what it offers.

The harness itself imports budgets.py and meeting.py, and has no pytest: so this file imports nothing. pytest follows
the name below. A second package of this name is never loaded, whether pytest found it by `-p`, by the entry point or by
both: the entry point has the package's name, and pytest loads a name once.
"""

pytest_plugins = [__name__ + ".hooks"]
