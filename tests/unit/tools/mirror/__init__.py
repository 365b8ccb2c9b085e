"""Tests of mirrors, and servers to mirror from."""
