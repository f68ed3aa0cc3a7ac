"""The door: one file a command. It parses, calls one verb after another, and maps errors to exit codes."""
