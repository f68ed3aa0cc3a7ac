"""Tenants of any HTTP API. The kind itself is in kind.py."""
