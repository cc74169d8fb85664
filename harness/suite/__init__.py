"""The tests that cases feed. From any repository: ``pytest --pyargs harness.suite --cases=DIR``."""
