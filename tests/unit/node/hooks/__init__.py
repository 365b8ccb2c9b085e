"""Tests of `node.hooks`."""
