"""Catching up by snapshot: proven entries and a proven state, without executing them again."""
