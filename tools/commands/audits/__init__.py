"""Commands of `tally audit` that need more than one page."""
