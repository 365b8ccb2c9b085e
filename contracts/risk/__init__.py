"""How risky a request is, and why: from how its member used to ask, and when and what for."""
