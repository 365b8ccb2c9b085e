"""How the members change their list of validators, and what validators report of each other."""
