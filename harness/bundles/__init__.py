"""A run that travels: its answers in one file that opens elsewhere, and reports of single cases."""

from harness.bundles.opening import Opened, opened

__all__ = ["Opened", "opened"]
