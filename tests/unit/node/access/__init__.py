"""Tests of `node.access`."""
