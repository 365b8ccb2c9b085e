"""Registers that members fill by vote: records, codes, ends of things, gateways."""
