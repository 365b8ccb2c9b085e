"""What turns the consensus core into a node: driver, catch-up, cosigning, epochs."""
