"""The suite on one NVIDIA GPU, on an image with PyTorch and Transformers, without LMDeploy or a network.

==========================  =====================================================================
``pack.py``                 makes the folder of wheels that travels with the tree
``turbomind.py``            packs TurboMind's library for an image with CUDA 13; ``cublas12.c`` is part of it
``run``                     there: installs the folder and starts the rest
``random_internvl.py``      a larger model with random weights, made on the spot
``prepared_cases.py``       the folder of cases: suites, models and the profiles of the run
``plan.py``                 the legs of a run, what each is worth and what it may take
``legs.py``                 runs them by worth, within the time there is, and keeps what each gave
``checks.py``               command lines of ``pytest -m gpu``, with a gate too
``work.py``                 the work of legs that are no command of the harness
``noise.py``                how far answers move when nothing that matters changed
``measuring.py``            recordings of all variants, the temperature trap, what paths cost
``readers.py``              what legs left behind, as data
``command.py``              the command line
``results.py``              the results file, and the same as Markdown
==========================  =====================================================================
"""
