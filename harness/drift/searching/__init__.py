"""A search for generated cases on which two engines disagree, or one with itself. No room needs this one.

`studio` makes cases and suites of what `hunting` has Hypothesis draw, `distances` and `relations` judge them.
"""
