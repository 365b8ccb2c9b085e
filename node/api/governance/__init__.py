"""Governance over HTTP: who validates, what is proposed and decided, members and histories."""
