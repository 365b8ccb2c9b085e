"""Tests of sealed payloads."""
