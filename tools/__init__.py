"""Commands for people (`tally`), the verifying client, and the local network."""
