"""Engines: what scores a case. Modules here run inside workers, in an engine's own environment."""
