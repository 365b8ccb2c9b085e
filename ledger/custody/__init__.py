"""Keys: encrypted at rest, succeeded by others, and those that payloads are sealed to."""
