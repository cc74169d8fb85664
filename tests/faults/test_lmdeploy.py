"""The experiments of `tests.faults.lmdeploy`."""

from __future__ import annotations

from tests.faults import lmdeploy
from tests.faults.ground import each_of

test_it_ends_as_it_should = each_of(lmdeploy)
