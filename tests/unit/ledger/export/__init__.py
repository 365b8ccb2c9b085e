"""Tests of `ledger.export`."""
