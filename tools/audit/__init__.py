"""What auditors do with a copy of a log beyond replaying it."""
