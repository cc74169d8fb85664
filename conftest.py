"""Configuration shared by the suite in harness/suite and by the harness's own tests in tests/."""

import os

from hypothesis import settings

pytest_plugins = ["pytester"]

# Hypothesis's own CI profile: derandomised and without deadlines, so a red run can be repeated.
settings.load_profile("ci" if os.environ.get("CI") else "default")
