"""`harness gate --explain`: where the worst cases begin to differ; the verdict stands."""

from __future__ import annotations

import pytest

from tests.gate_folder import Folder


@pytest.mark.slow
def test_where_it_begins_is_named_and_asked_for_in_one_go(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.write_suite(*(f"say A {n} lmdeploy: wobble" for n in range(24)))
    assert gate_folder.gate("p/torch", "p/lmdeploy", "--explain=1") == 1
    printed = capsys.readouterr().out
    assert "where it begins:\n  harness explain p/torch..p/lmdeploy s.c" in printed
    # These engines are stand-ins, with no model to look into.
    assert printed.count("cannot be explained: ") == 1
    gate_folder.clean()
    assert gate_folder.gate("p/torch", "p/lmdeploy", "--explain") == 0
    assert "cannot be explained" not in capsys.readouterr().out
