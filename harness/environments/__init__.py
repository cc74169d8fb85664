"""Environments for engines, made by uv of the requirements that a profile names.

==================  ================================================================
``request.py``      what a profile asks for, and the rules for it
``store.py``        `Environments`: made when first asked for, once for all processes
``lock.py``         what the requirements were resolved to
``making.py``       the steps, each a run of uv
``uv_program.py``   running uv, and what to do about what it says
``folder.py``       what is on disk
``hold.py``         locks of processes on it
``inventory.py``    which environments there are, and which engines use them
``checking.py``     whether an interpreter can load an engine, with ``loadable_report.py`` in it
==================  ================================================================
"""
