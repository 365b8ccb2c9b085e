"""Exchanges after their delivery: holders, consents, corrections, disputes, incidents, duties."""
