"""Measuring noise floors: how far an engine's answers move when nothing that matters changed.

==================  ==================================================================
``variants.py``     which runs an engine is jittered by
``measuring.py``    having workers make these runs, and the floor of what they answered
``store.py``        the journal of runs and floors, and reading floors from it
``repeats.py``      the same question twice: is what differs noise, or is the engine not deterministic?
``kept.py``         floors as files for review, and those that hold on any CPU
``limits.py``       where the limits of one test come from: a floor or the table
``figures.py``      what a floor says, in figures for people and machines
``report.py``       these figures as text
==================  ==================================================================

What a floor is, and the mathematics on it, is in `harness.verdicts`.
"""
