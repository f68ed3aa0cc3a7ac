"""Options, each declared once, and where the value of each came from."""
