"""Faults to be planted in an engine, by name: what the harness finds of them, `harness selftest` measures.

``catalogue.py`` names them all and imports no engine; the modules beside it plant them, in a worker, and
``switch.py`` is what a profile's ``patch`` calls. No other room needs this one.
"""
