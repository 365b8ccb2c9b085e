"""Founding a network by several agencies, each on its own machine with its own keys."""
