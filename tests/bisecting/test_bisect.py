"""`harness bisect` over tiny packages, in environments that uv really makes."""

from __future__ import annotations

import pytest

from tests.bisecting.releases import Releases


def test_first(releases: Releases, capsys: pytest.CaptureFixture[str]) -> None:
    releases.add("transformers", "1.0")
    releases.lmdeploys("good good dead good question bad bad error")
    status = releases.bisect(bad="0.7")
    print(capsys.readouterr())
    assert status == 0
