"""A whole run on a running server, which is a stand-in here: reuse, keys, and a server that goes."""

from __future__ import annotations

import base64
import gzip
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.recordings.store import RecordingStore
from tests.engines.api_server.stand_in_server import StandIn, serving
from tests.suite.conftest import HERE, Project

pytestmark = pytest.mark.engines

SECRET = "sk-planted-0123456789"


@pytest.fixture
def server() -> Iterator[StandIn]:
    with serving(StandIn(generated=["A"], top={"A": 0.9, "B": 0.05, "C": 0.01, "x": 0.001})) as stand_in:
        yield stand_in


def write(project: Project, server: StandIn, *, top_k: int = 5, **options: Any) -> None:
    """A profile of two servers, which are one: so they agree."""
    api = {"kind": "api", "top_k": top_k, "options": {"url": server.url, **options}}
    engines = {"first": api, "second": api}
    project.write_profiles(model="some-model", reference="first", engines=engines)
    project.write_suite(one="say A", two="again")


def test_two_servers_that_answer_alike_agree(project: Project, server: StandIn) -> None:
    write(project, server)
    result = project.run("-v", accept=True)
    result.assert_outcomes(passed=13)
    result.stdout.fnmatch_lines(["*s.one*A 0.900*A 0.900*0e+00*"])
    result.stdout.fnmatch_lines([f"*first: server at {server.url}, float32"])


def test_what_a_running_server_answered_is_not_used_again_in_another_run(
    project: Project, server: StandIn
) -> None:
    write(project, server)
    project.run(accept=True).assert_outcomes(passed=13)
    count = len(server.asked)
    server.top = {"B": 0.9, "A": 0.05, "C": 0.01}
    server.generated = ["B"]
    result = project.run()
    assert len(server.asked) > count
    result.assert_outcomes(
        failed=8, passed=5
    )  # letters and snapshots; the two still agree, on the same question
    result.stdout.fnmatch_lines(["*found B (0.9), expected A (0.05)*"])


def test_a_letter_outside_the_list_is_shown_as_a_bound(project: Project, server: StandIn) -> None:
    write(project, server, top_k=2)
    result = project.run("-k", "agree or expected")
    result.stdout.fnmatch_lines(["*not decidable: the difference is at most 0.05*"])
    result.stdout.fnmatch_lines(["*C*≤ 0.05*≤ 0.05*"])
    result.stdout.fnmatch_lines(["*s.one*≤5e-02*"])
    result.stdout.fnmatch_lines(["largest |Δp|: at most 0.05*"])
    result.assert_outcomes(passed=4, failed=2)


def test_the_key_is_in_no_file_and_in_no_output(
    project: Project, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED_KEY", SECRET)
    server.key = SECRET
    write(project, server, key_env="PLANTED_KEY")
    monkeypatch.setenv("HF_TOKEN", SECRET)
    told = ["--junit-xml=j.xml", "--report=r.html", "--report-json=r.json"]
    outputs = [project.run(*told, accept=True)]
    outputs[0].assert_outcomes(passed=13)
    assert main(["bundle", "--out", "run.zip"]) == 0
    assert f"Bearer {SECRET}" in server.keys
    server.key = "another one now"  # whereupon the server repeats what it was sent
    outputs.append(project.run())
    outputs[1].stdout.fnmatch_lines(["*does not take the key in the environment variable PLANTED_KEY*"])
    assert not any(SECRET in output.stdout.str() + output.stderr.str() for output in outputs)
    with zipfile.ZipFile("run.zip") as bundle:
        bundle.extractall("unpacked")
    written = [path for path in project.folder.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert {"j.xml", "r.html", "r.json", "run.zip"} <= {path.name for path in written}
    texts = {path: f"{path.read_bytes()!r} {unpacked(path)}" for path in written}
    assert [path for path, text in texts.items() if SECRET in text] == []
    assert {path.parent.name for path, text in texts.items() if "say A" in text} >= {
        project.folder.name,
        "unpacked",
    }


def unpacked(path: Path) -> str:
    """Recordings of a journal as text, and the data of a page, which are compressed there."""
    if path.suffix == ".html":
        (page,) = re.findall(r'id="document">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
        return str(gzip.decompress(base64.b64decode(page)))
    if path.parent.name != "recordings" or path.suffix != ".jsonl":
        return ""
    store = RecordingStore(path.parents[1])
    return "".join(str(store.get(key)) for key in store.answers(path.stem))


def test_a_server_that_has_gone_is_an_error_of_its_cases_and_of_no_other(
    project: Project, server: StandIn
) -> None:
    patch = str(HERE / "stand_in_engine.py")
    with serving(StandIn()) as gone:
        pass
    engines = {
        "torch": {"patch": patch},
        "here": {"kind": "api", "options": {"url": server.url}},
        "gone": {"kind": "api", "options": {"url": gone.url}},
    }
    project.write_profiles(engines=engines)
    project.write_suite(one="say A")
    result = project.run("-k", "expected")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines([f"*Is the server running, and url right? Try: curl {gone.url}/v1/models*"])


def test_full_and_partial_readings_side_by_side_are_made_once(project: Project, server: StandIn) -> None:
    patch = str(HERE / "stand_in_engine.py")
    engines = {"torch": {"patch": patch}, "api": {"kind": "api", "options": {"url": server.url}}}
    project.write_profiles(engines=engines)
    project.write_suite(one="say A")
    project.run("-k", "agree")
    project.run("-k", "agree")
    made = [line for line in project.recorded() if line.endswith("p-torch")]
    assert len(made) == 1  # its full rows have gone, and nobody needs them beside a server
    assert math.isclose(server.top["A"], 0.9)
