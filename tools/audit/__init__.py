"""What auditors ask and make, offline, from a verified copy of a log."""
