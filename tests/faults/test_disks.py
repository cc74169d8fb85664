"""The experiments of `tests.faults.disks`."""

from __future__ import annotations

from tests.faults import disks
from tests.faults.ground import each_of

test_it_ends_as_it_should = each_of(disks)
