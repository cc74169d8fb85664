"""The experiments of `tests.faults.servers`."""

from __future__ import annotations

from tests.faults import servers
from tests.faults.ground import each_of

test_it_ends_as_it_should = each_of(servers)
