"""LtHash: the digest of a set whose members come and go."""
