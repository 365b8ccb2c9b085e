"""Exchanges over HTTP: who owes what, and who gives and takes how much."""
