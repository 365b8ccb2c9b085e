"""Data only: samples and demonstration files, read with `importlib.resources`."""
