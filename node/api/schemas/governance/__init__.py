"""Bodies of governance: the list of validators, proposals, what they change, members."""
