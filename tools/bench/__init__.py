"""Measurements on networks of real processes: under load, and of a node that was away."""
