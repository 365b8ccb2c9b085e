"""Secret keys of a node: from files, encrypted or not."""
