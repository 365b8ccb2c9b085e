"""Commands about records, `tally dataset`."""
