"""Messages of the Common Reporting Standard (CRS, CARF): read, checked, answered, packed.

Synchronous; what reads files reads them piece by piece. Needs the extra `[crs]`.
"""
