"""Behind `harness method`: which way to the letters' probabilities a suite needs, measured on it.

==========================  =====================================================================
``coverage.py``             how long a top-k list must be to show every letter
``missing.py``              what a list of k entries does not show
``timing.py``               what each path costs, each in a worker of its own
``advice.py``               rules that turn these figures into a recommendation
``account.py``              all of it for one profile: the recordings, the figures, their JSON
``report.py``               the same as text
==========================  =====================================================================
"""
