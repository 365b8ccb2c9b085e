"""Commands about members and votes."""
