"""How members change what they share: the actions they vote on, proposals, and how votes count."""
