"""Registers that members fill by vote: what records are, codes in them, and when things end."""
