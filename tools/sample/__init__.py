"""Sample records: fictitious, the same for the same seed, with faults on purpose."""
