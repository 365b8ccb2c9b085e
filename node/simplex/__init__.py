"""Simplex consensus: a pure core (`core`), its write-ahead log (`wal`), its double-sign guard."""
