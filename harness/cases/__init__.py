"""Suites and profiles: YAML to objects that know their file and line."""
