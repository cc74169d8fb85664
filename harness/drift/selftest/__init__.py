"""`harness selftest`: each fault of the catalogue planted, and whether a user's commands find it.

``folder.py`` makes the folder of a user who has accepted a clean run, ``bench.py`` keeps one worker a side in
which faults are switched, ``running.py`` goes through the faults, ``table.py`` tells what came of it.
"""
