"""The plan: find it, load it, check it whole, select from it. Pure but for reading the project's files."""
