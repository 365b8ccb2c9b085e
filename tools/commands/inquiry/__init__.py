"""`tally audit` commands that ask a copy of a log something."""
