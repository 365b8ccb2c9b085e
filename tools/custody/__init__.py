"""Secret keys of people: key files, keystores, tokens, shares, and the one way to a signer."""
