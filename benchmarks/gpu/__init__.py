"""The suite on one NVIDIA GPU, on an image with PyTorch and Transformers, without LMDeploy or a network.

==========================  =====================================================================
``pack.py``                 makes the folder of wheels that travels with the tree
``run``                     there: installs the folder and starts the rest
``random_internvl.py``      a larger model with random weights, made on the spot
``prepared_cases.py``       the folder of cases: suites, models and the profiles of the run
``noise.py``                how far answers move when nothing that matters changed
``measuring.py``            recordings of all variants, the temperature trap, what paths cost
``checks.py``               ``pytest -m gpu`` and what it said
``command.py``              one part after another, whatever happens to each
``results.py``              the results file, and the same as Markdown
==========================  =====================================================================
"""
