"""Accepted outputs: what they hold, and updating them."""
