"""Typed bodies of the API, and how the node's values become them."""
