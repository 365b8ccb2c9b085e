"""What administrators must not overlook: open proposals, freezes, and what ends soon."""
