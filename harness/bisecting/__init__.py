"""Which version was the first bad one, with the gate as judge.

=============  ====================================================================
``search.py``  which of a row to judge next, and what can be said; pure
``target.py``  the engine, the package, and a row of its releases
``judge.py``   a candidate held against the good one, and what is kept of it
``locks.py``   two locks: what differs, and what has to move together
``run.py``     the whole of it: the ends, the releases, then the lock
=============  ====================================================================
"""
