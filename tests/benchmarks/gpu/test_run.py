"""What ``benchmarks/gpu/run`` does before it starts the rest, with a stand-in for Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.gpu.legs import ROOT

PYTHON = """\
#!/usr/bin/env bash
# pip installs, tarfile unpacks, loading ends as it is told, and the run says what it finds.
echo "$1 $2" >> "$SAID"
case "$1 $2" in
    "-m tarfile") mkdir -p "${@: -1}/lmdeploy/turbomind"; touch "${@: -1}/lmdeploy/turbomind/_turbomind.so" ;;
    "-c import lmdeploy.turbomind") exit "$LOADING" ;;
    "-P -m")
        ls "${PYTHONPATH%%:*}/lmdeploy/turbomind" >> "$SAID"
        echo "$GPU_RUN_SPENT $3 $4" >> "$SAID"
        exit 3
        ;;
esac
"""


@pytest.mark.parametrize(
    ("loading", "left"), [("0", ["_turbomind.so"]), ("134", [])], ids=["loads", "ends the process"]
)
def test_turbomind_is_unpacked_and_taken_out_where_it_does_not_load(
    loading: str, left: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "benchmarks" / "gpu"
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels" / "turbomind.tar.xz").touch()
    shutil.copy(ROOT / "benchmarks" / "gpu" / "run", folder / "run")
    python, said = tmp_path / "python", tmp_path / "said"
    python.write_text(PYTHON)
    python.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(python), "SAID": str(said), "LOADING": loading}
    command = [str(folder / "run"), "--minutes=1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    installed, unpacked, loaded, started, *found, last = said.read_text().splitlines()
    assert (installed, unpacked) == ("-m pip", "-m tarfile")
    assert (loaded, started) == ("-c import lmdeploy.turbomind", "-P -m")
    assert found == left
    spent, *rest = last.split()
    assert spent.isdigit()
    assert rest == ["benchmarks.gpu", "--minutes=1"]
    assert ("going on without" in done.stderr) is (not left)
