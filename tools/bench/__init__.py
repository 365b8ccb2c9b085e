"""Measurements: a network of real processes under load, a node that was away, sealing."""
