"""Tests of `contracts.exchange`."""
