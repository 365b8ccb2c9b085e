"""What quorums of validators sign and decide: votes, lists of validators, epochs, governance."""
