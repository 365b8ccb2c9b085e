"""Exchanges after their delivery, and incidents: bodies of events, and values of the state."""
