"""Keys in custody: encrypted at rest, and succeeded by others."""
