"""The pytest plugin: what pytest registers under the ``vlm-harness``, its hooks and its fixtures."""

from __future__ import annotations

from harness.plugin.fixtures import (
    accepted,
    agreement,
    recording,
    rows,
    suite_found,
    suite_gate,
    tolerances,
    verify,
)
from harness.plugin.hooks import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_generate_tests,
    pytest_ignore_collect,
    pytest_itemcollected,
    pytest_report_header,
    pytest_runtest_makereport,
    pytest_runtest_setup,
    pytest_runtestloop,
)

__all__ = [
    "accepted",
    "agreement",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_ignore_collect",
    "pytest_itemcollected",
    "pytest_report_header",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "pytest_runtestloop",
    "recording",
    "rows",
    "suite_found",
    "suite_gate",
    "tolerances",
    "verify",
]
