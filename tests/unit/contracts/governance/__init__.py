"""How members change what they share."""
