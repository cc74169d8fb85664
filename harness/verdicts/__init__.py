"""Noise or regression: verdicts on what changed between a baseline and a candidate, with their evidence."""
