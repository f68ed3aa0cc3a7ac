"""The head of the house: which groups may start (schedule.py) and what follows from an input (dispatch.py)."""
