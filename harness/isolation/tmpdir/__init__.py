"""Directories of files. The kind itself is in kind.py."""
