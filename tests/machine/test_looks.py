"""Each look at a machine: what is right, what is not, and the command that mends it."""

from __future__ import annotations

import http.server
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.machine import looks
from harness.machine.findings import Finding, Mark
from harness.machine.nvidia import Gpu, Holder, Nvidia
from harness.workers.hub_report import offline
from tests.machine.stand_in_nvml import GIB

IDLE = Gpu("NVIDIA X1", "GPU-aa", total=80 * GIB, free=79 * GIB, capability="9.0")
BY_NVML = ("NVML (libnvidia-ml.so.1): 1 GPUs",)


def machine(*gpus: Gpu, driver: str = "580.95.05", tried: tuple[str, ...] = BY_NVML) -> Nvidia:
    return Nvidia(gpus, driver, "13.0", tried, bool(gpus))


def gpus(found: Nvidia, *, wanted: bool = True, **variables: str) -> dict[str, Finding]:
    return {look.topic: look for look in looks.look_at_gpus(found, variables, wanted=wanted)}


def told(look: Finding) -> tuple[Mark, str]:
    return look.mark, look.command


def test_an_idle_gpu_is_right() -> None:
    found = gpus(machine(IDLE))
    assert {topic: (look.mark, look.text) for topic, look in found.items()} == {
        "driver": (Mark.RIGHT, "580.95.05, up to CUDA 13.0"),
        "GPU 0": (Mark.RIGHT, "NVIDIA X1, compute capability 9.0, 79.0 of 80.0 GiB free"),
    }


@pytest.mark.parametrize(("wanted", "mark"), [(True, Mark.WRONG), (False, Mark.UNKNOWN)])
def test_a_machine_without_a_driver(wanted: bool, mark: Mark) -> None:
    (look,) = gpus(machine(driver="", tried=("NVML: no", "files: no")), wanted=wanted).values()
    assert look.mark is mark
    assert look.text == "no NVIDIA GPU and no driver; tried NVML: no; files: no"
    assert look.command.startswith("install NVIDIA's driver")


def test_a_driver_without_a_gpu_is_wrong_anyhow() -> None:
    (look,) = gpus(machine(tried=("NVML: no", "files: no")), wanted=False).values()
    assert look.mark is Mark.WRONG
    assert look.text.startswith("driver 580.95.05, but no GPU; tried NVML: no")


def test_what_the_drivers_files_do_not_tell_is_said() -> None:
    found = gpus(machine(Gpu("NVIDIA X1", "GPU-aa"), tried=("NVML: cannot open", "files: 1 GPUs")))
    assert found["driver"].mark is Mark.UNKNOWN
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in found["driver"].command
    assert (found["GPU 0"].mark, found["GPU 0"].text) == (Mark.RIGHT, "NVIDIA X1")


def test_mig_without_an_instance_is_wrong() -> None:
    found = gpus(machine(IDLE, IDLE._replace(mig=())))
    assert found["GPU 0"].mark is Mark.RIGHT
    assert told(found["GPU 1"]) == (Mark.WRONG, "nvidia-smi mig -i 1 -cgi 0 -C")
    assert "MIG is on without an instance" in found["GPU 1"].text
    assert gpus(machine(IDLE._replace(mig=("MIG-1",))))["GPU 0"].mark is Mark.RIGHT


@pytest.mark.parametrize(
    ("wish", "absent"),
    [("3", "3"), ("0,7,1", "7"), ("GPU-cc", "GPU-cc"), ("MIG-2", "MIG-2"), ("cuda:0", "cuda:0")],
)
def test_a_gpu_that_is_named_and_not_there_is_wrong(wish: str, absent: str) -> None:
    found = gpus(machine(IDLE, IDLE._replace(uuid="GPU-bb", mig=("MIG-1",))), CUDA_VISIBLE_DEVICES=wish)
    look = found["CUDA_VISIBLE_DEVICES"]
    assert told(look) == (Mark.WRONG, "export CUDA_VISIBLE_DEVICES=0,1")
    assert f"there is no {absent};" in look.text


@pytest.mark.parametrize("wish", ["0", "1,0", "GPU-a", "MIG-1", "0,-1"])
def test_one_that_is_there_is_right(wish: str) -> None:
    found = gpus(machine(IDLE, IDLE._replace(uuid="GPU-bb", mig=("MIG-1",))), CUDA_VISIBLE_DEVICES=wish)
    assert found["CUDA_VISIBLE_DEVICES"].mark is Mark.RIGHT


@pytest.mark.parametrize("wish", ["", "-1"])
@pytest.mark.parametrize(("wanted", "mark"), [(True, Mark.WRONG), (False, Mark.UNKNOWN)])
def test_one_that_is_hidden(wish: str, wanted: bool, mark: Mark) -> None:
    full = IDLE._replace(free=GIB, holders=(Holder(7, "x", 79 * GIB),))
    found = gpus(machine(full), wanted=wanted, CUDA_VISIBLE_DEVICES=wish)
    assert told(found["CUDA_VISIBLE_DEVICES"]) == (mark, "unset CUDA_VISIBLE_DEVICES")
    assert found["GPU 0"].text == "NVIDIA X1, compute capability 9.0, hidden by CUDA_VISIBLE_DEVICES"


@pytest.mark.parametrize(("free", "mark"), [(19, Mark.UNKNOWN), (1, Mark.WRONG)])
def test_who_holds_memory_is_told(free: int, mark: Mark) -> None:
    holders = (Holder(4242, "python3", 60 * GIB), Holder(77, "", None))
    look = gpus(machine(IDLE._replace(free=free * GIB, holders=holders)))["GPU 0"]
    assert told(look) == (mark, "kill 4242 77")
    assert look.text.endswith(
        f"{free}.0 of 80.0 GiB free; held by python3 (4242, 60.0 GiB), ? (77); "
        "CUDA_VISIBLE_DEVICES may name another GPU"
    )


def test_memory_whose_holder_is_not_told() -> None:
    look = gpus(machine(IDLE._replace(free=19 * GIB)))["GPU 0"]
    assert look.mark is Mark.UNKNOWN
    assert "not told in this container" in look.text
    assert look.command == "nvidia-smi"


KIT: Mapping[str, Any] = {"python": "3.11.7", "include": "/inc", "headers": True, "torch": "2.12.1+cu130"}


def python(found: Nvidia, *, wanted: bool = True, **changes: Any) -> dict[str, Finding]:
    facts = {**KIT, "cuda": "13.0", **changes}
    return {look.topic: look for look in looks.look_at_python(facts, found, of="/p", wanted=wanted)}


def test_a_driver_that_is_too_old_is_wrong_where_it_is_wanted() -> None:
    old = machine(IDLE, driver="535.129.03")._replace(cuda="12.2")
    look = python(old)["torch"]
    assert look.mark is Mark.WRONG
    assert look.text == (
        "driver 535.129.03 is too old for torch 2.12.1+cu130 (CUDA 13.0), which needs 580 or newer; /p; "
        "update the driver, or have uv make the environment for it"
    )
    assert look.command == "export UV_TORCH_BACKEND=auto"
    assert python(old, wanted=False)["torch"].mark is Mark.UNKNOWN
    assert python(old, torch="2.6.0+cu124", cuda="12.4")["torch"].mark is Mark.RIGHT
    assert python(machine(IDLE))["torch"].mark is Mark.RIGHT
    assert "torch" not in python(old, torch=None, cuda=None)


def test_no_header_of_python() -> None:
    look = python(machine(IDLE), headers=False)["Python.h"]
    assert look.mark is Mark.WRONG
    assert look.text.startswith("no /inc/Python.h, ")
    assert look.command == "apt-get install python3.11-dev"
    assert python(machine(IDLE), headers=False, wanted=False)["Python.h"].mark is Mark.UNKNOWN
    assert python(machine(IDLE))["Python.h"].mark is Mark.RIGHT


def programs(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("there", "named", "found"),
    [
        (("clang", "gcc"), None, "gcc"),
        (("clang",), None, "clang"),
        (("tcc", "gcc"), "tcc", "tcc"),
        (("gcc",), "icc", None),
        (("gcc",), "", None),
        (("cc",), None, None),
        ((), None, None),
    ],
)
def test_the_compiler_is_the_one_that_triton_takes(
    tmp_path: Path, there: tuple[str, ...], named: str | None, found: str | None
) -> None:
    variables = {"PATH": programs(tmp_path, *there)} | ({} if named is None else {"CC": named})
    look = looks.look_at_compiler(variables, wanted=True)
    assert look.mark is (Mark.WRONG if found is None else Mark.RIGHT)
    if found is not None:
        assert look.text == str(tmp_path / found)
    elif there == ("cc",):
        assert look.command == f"export CC={tmp_path / 'cc'}"
    else:
        assert look.command == "apt-get install gcc"
        assert ("gcc nor clang" if named is None else repr(named)) in look.text
    assert looks.look_at_compiler(variables, wanted=False).mark is not Mark.WRONG


@pytest.mark.engines
def test_triton_still_looks_for_compiler_and_header_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton itself, where it is installed: with clang alone it compiles, with cc alone it does not."""
    from triton.runtime import build  # type: ignore[import-untyped,import-not-found,unused-ignore]

    note = tmp_path / "called"
    (tmp_path / "clang").write_text(f'#!/bin/sh\necho "$@" > {note}\n')
    (tmp_path / "clang").chmod(0o755)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    build._build("n", "n.c", str(tmp_path), [], [], [], [])
    from harness.workers.interpreter_report import toolkit

    assert f"-I{toolkit()['include']}" in note.read_text().split()
    (tmp_path / "clang").rename(tmp_path / "cc")
    with pytest.raises(RuntimeError, match="Failed to find C compiler"):
        build._build("n", "n.c", str(tmp_path), [], [], [], [])


@pytest.mark.parametrize(
    ("free", "mark"),
    [(50 * 10**9, Mark.RIGHT), (16 * 10**9, Mark.UNKNOWN), (5 * 10**9, Mark.UNKNOWN), (10**8, Mark.WRONG)],
)
def test_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, mark: Mark) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> Any:
        asked.append(path)
        return SimpleNamespace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    places = {
        "recordings": (tmp_path / ".harness", 0),
        "environments": (tmp_path / "not" / "made", 16 * 10**9),
    }
    (look,) = looks.look_at_disk(places)
    assert asked == [tmp_path]
    assert look.mark is mark, "1 GB beside the 16"
    assert look.text.startswith(
        f"{free / 10**9:.1f} GB free for recordings (1 GB) in {tmp_path / '.harness'}, "
        f"environments (16 GB) in {tmp_path / 'not' / 'made'}"
    )
    assert ("together 17 GB" in look.text) == (mark is not Mark.RIGHT)
    assert look.command == ("" if mark is Mark.RIGHT else "harness env remove --unused")


def test_each_filesystem_is_told_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).exists())
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: SimpleNamespace(free=0 if path == tmp_path else GIB)
    )
    places = {"models": (Path("/proc/not-here"), 0), "recordings": (tmp_path, 0)}
    assert [look.mark for look in looks.look_at_disk(places)] == [Mark.RIGHT, Mark.WRONG]


@pytest.mark.parametrize("made", [True, False])
def test_a_place_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    folder, access = tmp_path / "read only", os.access
    folder.mkdir()
    # By name, as root may write to any.
    monkeypatch.setattr(
        os, "access", lambda path, mode: access(path, mode) and not (path == folder and mode & os.W_OK)
    )
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50 * 10**9))
    places = {"recordings": (folder if made else folder / "new", 0), "models": (tmp_path, 0)}
    look, other = looks.look_at_disk(places)
    assert told(look) == (Mark.WRONG, f"chmod u+rwx '{folder}'")
    assert look.text == (
        f"{folder} is no folder that can be written to, for recordings; --recordings names another"
    )
    assert (other.mark, "recordings" in other.text) == (Mark.RIGHT, False)


def test_a_place_below_a_file_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (look,) = looks.look_at_disk({"environments": (tmp_path / "file", 0)})
    assert look.mark is Mark.WRONG


@pytest.mark.parametrize(("free", "mark"), [(20, Mark.RIGHT), (3, Mark.UNKNOWN)])
def test_main_memory(tmp_path: Path, free: int, mark: Mark) -> None:
    """The form of proc_meminfo(5)."""
    file = tmp_path / "meminfo"
    lines = (f"MemTotal:       {32 * 2**20} kB", "MemFree:  1 kB", f"MemAvailable:   {free * 2**20} kB")
    file.write_text("\n".join([*lines, "HugePages_Total:       0", "Active(anon):  5 kB"]) + "\n")
    look = looks.look_at_host(file)
    assert (look.mark, look.text) == (mark, f"{free}.0 of 32.0 GiB of main memory available")
    assert looks.look_at_host().topic == "memory"


@pytest.fixture
def hub() -> Iterator[str]:
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


LACKS = (("org/m: is not in hub", "hf download org/m"), ("org/n: has no weights", "hf download org/n"))


def test_a_hub_that_answers_whatever_it_says_is_reached(hub: str) -> None:
    look, *models = looks.look_at_hub({"HF_ENDPOINT": hub}, needed=LACKS)
    assert (look.mark, look.text) == (Mark.RIGHT, f"{hub} answers")
    assert [(one.mark, one.text, one.command) for one in models] == [(Mark.UNKNOWN, *lack) for lack in LACKS]


@pytest.mark.parametrize(("needed", "mark"), [((), Mark.UNKNOWN), (LACKS, Mark.WRONG)])
def test_a_hub_that_is_not_reached(needed: tuple[tuple[str, str], ...], mark: Mark) -> None:
    look, *models = looks.look_at_hub({"HF_ENDPOINT": "http://127.0.0.1:9"}, needed=needed)
    assert look.mark is mark
    assert "http://127.0.0.1:9 cannot be reached: " in look.text
    assert look.command == "curl http://127.0.0.1:9"
    assert [told(one) for one in models] == [(Mark.WRONG, fetch) for _, fetch in needed]


@pytest.mark.parametrize("who", ["user:secret@", "secret@", "us@er:p@secret/x@", ""])
@pytest.mark.parametrize("scheme", ["http://", "https://", ""])
def test_who_asks_the_hub_is_never_said(scheme: str, who: str) -> None:
    (look,) = looks.look_at_hub({"HF_ENDPOINT": f"{scheme}{who}127.0.0.1:9/hub"}, needed=())
    assert f"{scheme}127.0.0.1:9/hub cannot be reached: " in look.text
    assert "no answer within" not in look.text
    assert "secret" not in f"{look.text}{look.command}"


def test_a_hub_that_has_an_account_is_reached(hub: str) -> None:
    (look,) = looks.look_at_hub({"HF_ENDPOINT": hub.replace("//", "//user:secret@")}, needed=())
    assert (look.mark, look.text) == (Mark.RIGHT, f"{hub} answers")


def test_an_address_that_is_none() -> None:
    (look,) = looks.look_at_hub({"HF_ENDPOINT": "http://127.0.0.1:port"}, needed=())
    assert "cannot be reached: nonnumeric port: 'port'" in look.text


def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()
    monkeypatch.setattr(looks, "_HUB_SECONDS", 0.05)

    def silent(*_: Any, **__: Any) -> None:
        end.wait(30)
        raise OSError

    monkeypatch.setattr("urllib.request.urlopen", silent)
    (look,) = looks.look_at_hub({}, needed=())
    end.set()
    assert "https://huggingface.co cannot be reached: no answer within 0.05 s" in look.text


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
@pytest.mark.parametrize("word", ["1", "true", "YES"])
def test_a_hub_that_is_not_asked(name: str, word: str) -> None:
    variables = {name: word, "HF_ENDPOINT": "http://127.0.0.1:9"}
    look, *models = looks.look_at_hub(variables, needed=LACKS, offline=offline(variables))
    assert (look.mark, look.text) == (Mark.RIGHT, f"{name} is set: models come from the cache only")
    assert [told(one) for one in models] == [(Mark.WRONG, f"HF_HUB_OFFLINE=0 {fetch}") for _, fetch in LACKS]


def test_every_look_that_is_not_right_has_a_command() -> None:
    full = IDLE._replace(free=GIB)
    bad = [
        *gpus(machine(full, IDLE._replace(mig=())), CUDA_VISIBLE_DEVICES="9").values(),
        *gpus(machine(full, IDLE._replace(mig=()))).values(),
        *python(machine(full, driver="470.1")._replace(cuda=""), headers=False).values(),
        looks.look_at_compiler({"PATH": os.devnull}, wanted=True),
    ]
    bad += looks.look_at_hub({"HF_ENDPOINT": "http://127.0.0.1:9"}, needed=LACKS)
    bad += looks.look_at_disk({"models": (Path(os.devnull), 0)})
    commands = [look.command for look in bad if look.mark is not Mark.RIGHT]
    assert len(commands) == 10
    # To be pasted as it is: other ways are in the text.
    programs = {"export", "kill", "nvidia-smi", "apt-get", "curl", "hf", "chmod"}
    assert {command.split()[0] for command in commands} <= programs
    assert [command for command in commands if "; " in command or " or " in command] == []
