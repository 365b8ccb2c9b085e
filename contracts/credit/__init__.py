"""Credit of a participant: what counts, what it is worth, and the record of every change."""
