"""A copy of a log in named files: its numbered checks, and its tree proven tile by tile."""
