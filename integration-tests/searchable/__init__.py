"""Searchable: a small marketplace whose organizations share nothing but the process they are served by."""
