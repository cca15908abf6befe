"""Keys: the root of trust, what is sealed under it, and envelope encryption."""
