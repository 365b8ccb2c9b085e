"""Webhooks: final records delivered to the systems of the node's own member."""
