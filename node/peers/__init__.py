"""Links to the other nodes, and what travels on them: blocks, events, final ranges."""
