"""The models of suites and profiles, and the JSON Schemas made from them."""
