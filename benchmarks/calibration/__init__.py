"""How often the judge cries wolf, and how often it finds what was planted: replays of clean runs, simulations."""
