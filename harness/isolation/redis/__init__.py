"""Redis: database numbers and prefixes. The kind itself is in kind.py."""
