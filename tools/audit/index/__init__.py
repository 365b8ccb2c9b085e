"""Questions to a copy of a log: an index beside it, and what is asked of the index."""
