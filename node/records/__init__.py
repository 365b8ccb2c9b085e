"""Records on their way out or in: parse, minimise, normalise, validate, de-duplicate, report.

Nothing here opens a file or reads a clock, except `python -m node.records`, which cleans one file.
"""
