"""Cosigning the checkpoints of a log for outsiders, after C2SP tlog-witness."""
