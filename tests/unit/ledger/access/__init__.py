"""Tests of `ledger.access`."""
