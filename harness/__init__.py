"""A parallel harness for integration tests. Start reading at docs/architecture.md."""

__version__ = "0.1.0"
