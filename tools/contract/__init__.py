"""`tally contract`: policy sets read, tried, compared, and asked about what has happened."""
