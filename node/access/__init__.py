"""The access log of a node: who read what, kept in files and anchored on the ledger."""
