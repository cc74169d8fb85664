"""The experiments of `tests.faults.signals`."""

from __future__ import annotations

from tests.faults import signals
from tests.faults.ground import each_of

test_it_ends_as_it_should = each_of(signals)
