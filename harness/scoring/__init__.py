"""Which recordings are missing, and having them made."""
