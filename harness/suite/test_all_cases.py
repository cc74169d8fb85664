"""All checks on all cases of a suite: collected with ``--bulk``, in place of a test for each."""

from harness.plugin.bulk import SuiteFound


def test_all_cases(suite_found: SuiteFound) -> None:
    """What the other tests check, of every case and engine; a failure counts and names the worst."""
    suite_found.require()
