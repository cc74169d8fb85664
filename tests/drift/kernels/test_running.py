"""What the command line names, and the kernels of the installed LMDeploy, as they are and with a fault."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.drift.kernels.running import checks_of, versions_of
from harness.errors import UnknownName


def test_versions() -> None:
    assert versions_of("0.16.0, 0.18.0,0.16.0") == ("0.16.0", "0.18.0")
    for wrong in ("latest", "0.16.0,", "0.16.0 0.18.0"):
        with pytest.raises(UnknownName, match=r"--versions: found .* allowed: versions with commas between"):
            versions_of(wrong)


def test_checks_by_function_or_variant() -> None:
    assert [one.name for one in checks_of(["rms_norm"])] == ["rms_norm", "rms_norm:residual"]
    assert [one.name for one in checks_of(["flatten_kv_cache:int8"])] == ["flatten_kv_cache:int8"]
    assert {"fused_moe", "flash_attn_with_kvcache:sinks"} <= {one.name for one in checks_of([])}
    with pytest.raises(UnknownName, match=r"--kernels: found 'rms_nom'; allowed: .*rms_norm"):
        checks_of(["rms_nom"])


@pytest.mark.parametrize("arguments", [["--versions", "new"], ["--kernels", "rms_nom"]])
def test_a_wrong_name_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernels", *arguments]) == 2
    assert "allowed: " in capsys.readouterr().err


def rows(*names: str) -> tuple[int, dict[str, dict[str, Any]]]:
    status = main(["kernels", "--kernels", *names, "--json", "k.json", "--markdown", "k.md"])
    found = json.loads(Path("k.json").read_text(encoding="utf-8"))
    return status, {f"{row['kernel']} {row['dtype']}": row for row in found["kernels"]}


@pytest.mark.slow
@pytest.mark.engines
def test_what_is_installed_is_within_its_limits_and_a_planted_fault_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("silu_and_mul", "fill_kv_cache:prefill")
    status, found = rows(*names)
    assert status == 0, capsys.readouterr()
    assert [row["steps"] is not None and row["steps"] <= row["limit"] for row in found.values()] == [True] * 4
    assert Path("k.md").read_text(encoding="utf-8") == capsys.readouterr().out

    kernels = with_own_kernels(tmp_path / "planted")
    file = kernels / "fill_kv_cache.py"
    before = file.read_text(encoding="utf-8")
    fault = before.replace("(kv_offs < kv_seqlen)", "(kv_offs < kv_seqlen - 1)")
    assert fault != before
    file.write_text(fault, encoding="utf-8")
    (kernels / "activation.py").write_text("def silu_and_mul(gate_up):\n    raise ValueError('planted')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "planted"))
    status, found = rows(*names)
    assert status == 1
    assert [row["beyond"] for row in found.values()] == [False, False, True, True]
    told = capsys.readouterr().out
    assert "BEYOND: fill_kv_cache:prefill of lmdeploy" in told
    assert "ERROR: silu_and_mul of lmdeploy" in told
    assert "ValueError: planted" in told


def with_own_kernels(folder: Path) -> Path:
    """An lmdeploy in ``folder`` whose files are those installed, but its CUDA kernels, which are copies."""
    spec = importlib.util.find_spec("lmdeploy")
    assert spec is not None
    assert spec.origin is not None
    there, here = Path(spec.origin).parent, folder / "lmdeploy"
    for part in ("pytorch", "kernels", "cuda"):
        here.mkdir(parents=True)
        for entry in there.iterdir():
            if entry.name != part:
                (here / entry.name).symlink_to(entry)
        there, here = there / part, here / part
    shutil.copytree(there, here, ignore=shutil.ignore_patterns("__pycache__"))
    return here
