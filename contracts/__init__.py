"""What is allowed: Cedar contracts, the lifecycle of exchanges, and the one state transition."""
