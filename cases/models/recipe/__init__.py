"""How the embedded model, its model card and its cases are made, each from a seed.

Run from the folder above: `python -m recipe --help`.
"""
