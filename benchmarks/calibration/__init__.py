"""How often the judge cries wolf and how often it finds what was planted, in replays and simulations."""
