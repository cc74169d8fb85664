"""A model's own Python files: whether LMDeploy may run them, where it asks and where it does not."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from harness.engines.contract import EngineSettings, Json
from harness.engines.lmdeploy_pipeline import engine as lmdeploy_pipeline
from harness.errors import EngineError, ErrorKind


def stand_in(monkeypatch: pytest.MonkeyPatch, *, asks: bool) -> None:
    """A `lmdeploy.pipeline` whose Pipeline is told about remote code, or not."""
    module = types.ModuleType("lmdeploy.pipeline")

    def told(model_path: str, *, trust_remote_code: bool = False) -> None: ...

    def not_told(model_path: str, **others: object) -> None: ...

    vars(module)["Pipeline"] = told if asks else not_told
    monkeypatch.setitem(sys.modules, "lmdeploy", types.ModuleType("lmdeploy"))
    monkeypatch.setitem(sys.modules, "lmdeploy.pipeline", module)


def settings(model: Path, **options: Json) -> EngineSettings:
    return EngineSettings(
        kind="lmdeploy",
        model=str(model),
        dtype="auto",
        device="cpu",
        paths=(),
        top_k=0,
        batch_size=1,
        options=options,
    )


@pytest.mark.parametrize("trusted", [False, True])
def test_an_lmdeploy_that_asks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    stand_in(monkeypatch, asks=True)
    (tmp_path / "modeling_x.py").touch()
    assert lmdeploy_pipeline._trust(settings(tmp_path, trust_remote_code=trusted)) == {
        "trust_remote_code": trusted
    }


def test_an_lmdeploy_that_would_not_ask_is_not_given_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, asks=False)
    (tmp_path / "modeling_x.py").touch()

    with pytest.raises(EngineError) as caught:
        lmdeploy_pipeline._trust(settings(tmp_path))

    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert "modeling_x.py" in caught.value.message
    assert "'trust_remote_code: true'" in caught.value.message


@pytest.mark.parametrize(("files", "trusted"), [((), False), (("modeling_x.py",), True)])
def test_without_such_files_or_with_trust_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...], trusted: bool
) -> None:
    stand_in(monkeypatch, asks=False)
    for name in files:
        (tmp_path / name).touch()
    assert lmdeploy_pipeline._trust(settings(tmp_path, trust_remote_code=trusted)) == {}
