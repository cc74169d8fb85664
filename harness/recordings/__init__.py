"""Recordings: what engines answered, kept by content."""
