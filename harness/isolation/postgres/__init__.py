"""Postgres: schemas and databases. The kind itself is in kind.py."""
