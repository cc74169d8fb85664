"""Configuration shared by the suite in harness/suite and by the harness's own tests in tests/."""

import os

if os.environ.get("CI"):
    from hypothesis import settings

    # Hypothesis's own CI profile: derandomised and without deadlines, so a red run can be repeated.
    settings.load_profile("ci")
