"""TCP ports. The kind itself is in kind.py."""
