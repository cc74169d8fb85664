"""Benchmarks: ratios, each taken within one run. ``python benchmarks`` runs them; README.md explains them."""
