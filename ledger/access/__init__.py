"""Who read what on a node: the lines of its access log, and their anchors on the ledger."""
