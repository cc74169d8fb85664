"""What is known of a machine, in one place. Standard library only.

================  ==============================================================================
``nvidia.py``     GPUs, their driver, and what torch needs of it; runs by its path alone as well
``processor.py``  the processor's name; runs by its path alone as well
``looks.py``      the looks of `harness doctor`
``findings.py``   what was looked at, and what came of it: right, wrong, or not to be known from here
================  ==============================================================================
"""
