"""Records of the ledger in forms that other programs read."""
