"""Servers in profiles.yaml: what an entry becomes, and every rule with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cases.profiles import Profile
from harness.engines.api_server.running import is_running_server
from harness.errors import CaseFileError
from harness.recordings.fingerprint import engine_fingerprint
from harness.scoring.subjects import SELECTIONS, Subject
from tests.cases.profile_texts import SUITES
from tests.cases.writing import load_profiles

CASE = SUITES[0].cases[0]

pytestmark = pytest.mark.usefixtures("folder")


def profile(engines: str, *, shared: str = "model: m, dtype: float32") -> Profile:
    text = f"profiles:\n  p: {{{shared}, reference: a, engines: {{{engines}}}}}\n"
    Path("profiles.yaml").write_text(text)
    return load_profiles(Path("profiles.yaml"), SUITES)[0]


def problems(engines: str, *, shared: str = "model: m, dtype: float32") -> list[str]:
    with pytest.raises(CaseFileError) as caught:
        profile(engines, shared=shared)
    return [str(problem) for problem in caught.value.problems]


RUNNING = "{kind: api, options: {url: 'http://localhost:23333'}}"
STARTED = "{kind: api, options: {serve: true, session_len: 4096}}"


def test_a_running_server_and_one_that_is_started() -> None:
    running, started = profile(f"a: {RUNNING}, b: {STARTED}", shared="model: m, dtype: float32").engines
    assert running.settings.model == "m"  # a name for the server to know, no folder
    assert running.settings.paths == ("chat",)
    assert running.settings.options == {"url": "http://localhost:23333", "timeout": 108.0}
    assert is_running_server(running.settings)
    assert started.settings.model == str(Path("m").absolute())
    assert started.settings.options == {"serve": True, "session_len": 4096, "timeout": 108.0}
    assert not is_running_server(started.settings)


def test_the_time_for_a_request_is_within_the_cases_deadline() -> None:
    (engine,) = profile(f"a: {STARTED}", shared="model: m, deadlines: {case: 10}").engines
    assert engine.settings.options["timeout"] == 9.0
    (engine,) = profile("a: {kind: api, options: {serve: true, timeout: 5}}").engines
    assert engine.settings.options["timeout"] == 5


def test_a_profile_of_running_servers_needs_no_folder() -> None:
    (engine,) = profile(f"a: {RUNNING}", shared="model: InternVL2-8B, dtype: bfloat16").engines
    assert engine.settings.model == "InternVL2-8B"
    own = RUNNING.replace("kind: api", "kind: api, model: org/name, dtype: bfloat16")
    engines = profile(f"a: {STARTED}, b: {own}").engines
    assert engines[1].settings.model == "org/name"
    assert (
        "which does not exist"
        in problems(f"a: {STARTED}, b: {RUNNING}", shared="model: gone, dtype: auto")[0]
    )


def test_only_the_name_is_known_of_a_running_server(tmp_path: Path) -> None:
    running, started = profile(f"a: {RUNNING}, b: {STARTED}").engines
    known = engine_fingerprint(running.settings, {}, patch=None, cache=tmp_path / "cache")
    assert known["model"] == {"served": "m"}
    hashed = engine_fingerprint(started.settings, {}, patch=None, cache=tmp_path / "cache")["model"]
    assert isinstance(hashed, dict)
    assert list(hashed) == ["hash", "files"]


def test_a_server_has_no_top_k_check_and_no_stages() -> None:
    made = profile(f"a: {RUNNING}")
    subject = Subject(CASE, made, made.engines[0])
    assert {name for name, chosen in SELECTIONS.items() if chosen(subject)} == {"every"}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{kind: api}", "profiles.p.engines.a: found neither url nor serve; allowed: options.url"),
        ("{kind: api, options: {}}", "engines.a.options: found neither url nor serve"),
        (
            "{kind: api, options: {url: 'http://h', serve: true}}",
            "engines.a.options.serve: found the option 'serve'; allowed: an option of api with url (cpu): ",
        ),
        (
            "{kind: api, options: {serve: false}}",
            "engines.a.options.serve: found false, a boolean; allowed: True",
        ),
        (
            "{kind: api, options: {serve: true, key_env: K}}",
            "options.key_env: found the option 'key_env'; allowed: an option of api with serve (cpu): ",
        ),
        (
            "{kind: api, options: {url: 'http://h', session_len: 5}}",
            "options.session_len: found the option 'session_len'; allowed: an option of api with url (cpu): "
            "url, served_model, key_env, timeout; session_len is for lmdeploy, api with serve",
        ),
        ("{kind: api, options: {url: 'localhost:23333'}}", "options.url: found 'localhost:23333'"),
        ("{kind: api, options: {url: 'http://'}}", "options.url: found 'http://'"),
        ("{kind: api, options: {url: 'http://h:99999'}}", "options.url: found a URL that cannot be read"),
        ("{kind: api, options: {url: 'http://h/?key=1'}}", "options.url: found a URL with a query"),
        ("{kind: api, options: {url: 'http://h', key_env: sk-123}}", "options.key_env: found 'sk-123'"),
        ("{kind: api, top_k: 0, options: {url: 'http://h'}}", "engines.a.top_k: found 0 for api"),
        (
            "{kind: api, dtype: auto, options: {url: 'http://h'}}",
            "engines.a.dtype: found no dtype for a running server",
        ),
        (
            "{kind: api, paths: [captured], options: {url: 'http://h'}}",
            "allowed: a path of api with url (cpu): chat",
        ),
        (
            "{kind: api, paths: [scored], options: {url: 'http://h'}}",
            "a.paths.0: found 'scored'; allowed: a path of api with url (cpu): chat",
        ),
        (
            "{kind: api, options: {serve: true, stage_two: stepwise}}",
            "allowed: an option of api with serve (cpu): ",
        ),
        ("{kind: torch, options: {url: 'http://h'}}", "allowed: an option of torch (cpu): "),
        ("{kind: lmdeploy, options: {serve: true}}", "allowed: an option of lmdeploy (pytorch, cpu): "),
    ],
)
def test_problems_are_told_with_their_places(entry: str, said: str) -> None:
    found = problems(f"a: {entry}")
    assert any(said in problem for problem in found), found


def test_the_dtype_of_a_running_server_must_be_told() -> None:
    (told,) = problems(f"a: {RUNNING}", shared="model: m")
    assert "profiles.p.engines.a: found no dtype for a running server" in told
    (told,) = problems(f"a: {RUNNING}", shared="model: m, dtype: auto")
    assert "profiles.p.dtype: found no dtype for a running server" in told


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    (told,) = problems("a: {kind: api, options: {url: 'http://me:planted-secret@host'}}")
    assert "found a URL with a user or password" in told
    assert "planted-secret" not in told


def test_a_server_that_is_started_knows_no_float32_on_a_gpu() -> None:
    shared = "model: m, dtype: float32, device: cuda"
    assert "float32 for lmdeploy on cuda" in problems(f"a: {STARTED}", shared=shared)[0]
    assert profile(f"a: {RUNNING}", shared=shared)
