"""Tests of `contracts.registers`."""
