"""Records and exchanges of a verified copy in forms that other programs read."""
