"""Transparency log formats of C2SP and RFC 6962: pure functions from bytes to bytes."""
