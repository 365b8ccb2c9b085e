"""What the log is: codec, keys, events, blocks, Merkle tree, state, storage and verification."""
