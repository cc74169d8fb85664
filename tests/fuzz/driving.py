"""Runs one target: with atheris where it is installed, which looks at coverage, else with Hypothesis.

Each target has a process of its own, since atheris never returns and a finding may be a process's end.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from tests.fuzz.ground import TARGETS, Target

__all__ = ["ROOMS", "Outcome", "has_atheris", "load_targets", "run", "serve"]

ROOMS: Final = ("planted", "reading", "keeping", "speaking", "showing")
_LONGEST: Final = 1 << 16  # bytes of an input
_SLOWEST: Final = 20  # seconds for one input
_MOST_MEMORY: Final = 3000  # MB of the process
_TOKENS: Final = tuple(
    text.encode("utf-8", "surrogatepass")
    for text in (
        *(
            "[",
            "]",
            "{",
            "}",
            '"',
            ":",
            ",",
            "\n",
            "- ",
            "[]",
            "{}",
            '""',
            "null",
            "true",
            "NaN",
            "1e999",
            "-1",
            "0.5",
        ),
        *(
            "9" * 30,
            "[" * 50,
            "\x1b[2J",
            "\\ud800",
            "!!python/name:os.system",
            "&a",
            "*a",
            "../",
            "\0",
            "\ufeff",
        ),
        *("\u00a0", "\u202e", "🙂", "<|im_end|>", "'", "\t"),
    )
)
_WORD: Final = re.compile(rb'"[^"\n]*"|[\w.+-]+|\s+|.', re.DOTALL)


def edited(data: bytes, place: float, how: int, token: bytes) -> bytes:
    """With a word of ``data`` replaced by a token, left out, or with the token before it."""
    found = _WORD.search(data, int(place * len(data)))
    if found is None:
        return data + token
    return data[: found.start()] + (token, b"", token + found[0])[how] + data[found.end() :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one target: inputs tried, lines of its modules reached of ``of``, and what was found."""

    target: str
    backend: str
    seconds: float
    runs: int
    lines: int
    of: int
    found: str = ""
    input: Path | None = None


def has_atheris() -> bool:
    """Whether atheris can be imported here."""
    return importlib.util.find_spec("atheris") is not None


def load_targets() -> dict[str, Target]:
    """All targets by name."""
    for room in ROOMS:
        importlib.import_module(f"tests.fuzz.{room}")
    return TARGETS


def _target(name: str) -> Target:
    """The target of that name; no room behind its own is imported."""
    for room in ROOMS:
        importlib.import_module(f"tests.fuzz.{room}")
        if name in TARGETS:
            break
    return TARGETS[name]


def run(name: str, seconds: float, folder: Path, backend: str, *, seed: int = 0) -> Outcome:
    """Fuzz one target for ``seconds``, its corpus and what was found below ``folder``; 0 draws a seed."""
    corpus, found = folder / name / "corpus", folder / name / "found"
    for each in (corpus, found):
        each.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.serving",
        name,
        str(seconds),
        str(corpus),
        str(found),
        backend,
        str(seed),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    took = time.monotonic() - began
    if (noted := found.parent / "place").exists():
        shutil.rmtree(noted.read_text(), ignore_errors=True)
    log = f"{done.stdout}\n{done.stderr}"
    runs = [int(number) for number in re.findall(r"(?:executed_units: +|^runs: )(\d+)", log, re.MULTILINE)]
    inputs = sorted(found.iterdir())
    text = ""
    if done.returncode or inputs:
        text = _essence(log) or f"exit status {done.returncode}"
    lines, of = _covered(name, corpus)
    return Outcome(
        target=name,
        backend=backend,
        seconds=took,
        runs=runs[-1] if runs else 0,
        lines=lines,
        of=of,
        found=text,
        input=inputs[0] if inputs else None,
    )


def _essence(log: str) -> str:
    """Of a process's log what was found: the last traceback, or libFuzzer's own sentence."""
    start = max(log.rfind("Traceback (most recent call last)"), log.rfind("=== Uncaught Python exception"))
    if start >= 0:
        return re.split(r"\n(?:==|INFO:|#\d)", log[start : start + 4000])[0].strip()
    told = re.findall(r"^.*(?:ERROR: libFuzzer|Fatal Python error|SUMMARY).*$", log, re.MULTILINE)
    return "\n".join(told) or log[-500:].strip()


def serve(name: str, seconds: float, corpus: Path, found: Path, backend: str, seed: int) -> None:
    """The child's side; with atheris it does not return."""
    if backend == "atheris":
        import atheris

        with atheris.instrument_imports(
            include=["harness", "tests.fuzz.planted"], enable_loader_override=False
        ):
            one = _target(name)
    else:
        one = _target(name)
    for number, first in enumerate(one.seeds()):
        (corpus / f"seed-{number:03}").write_bytes(first)
    memory = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else found.parent, prefix="harness-fuzz-"))
    (found.parent / "place").write_text(str(place))

    def check(data: bytes) -> None:
        one.check(data, place)

    if backend == "atheris":
        words = found.parent / "words"
        escaped = ["".join(f"\\x{byte:02x}" for byte in word) for word in _TOKENS if len(word) < 64]
        words.write_text("".join(f'"{word}"\n' for word in escaped))
        options = {
            "max_total_time": int(seconds),
            "max_len": _LONGEST,
            "timeout": _SLOWEST,
            "rss_limit_mb": _MOST_MEMORY,
            "artifact_prefix": f"{found}/",
            "dict": words,
            "seed": seed,
            "print_final_stats": 1,
        }
        given = [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(corpus)]

        def mutate(data: bytes, most: int, number: int) -> bytes:
            rng = random.Random(number)
            if rng.random() < 0.5:  # libFuzzer's own, on bytes
                return bytes(atheris.Mutate(data, most))
            for _ in range(rng.randint(1, 3)):
                data = edited(data, rng.random(), rng.randrange(3), rng.choice(_TOKENS))
            return data[:most]

        atheris.Setup(given, check, custom_mutator=mutate)
        atheris.Fuzz()
    else:
        _with_hypothesis(check, [*one.seeds()], seconds, corpus, found)


def _with_hypothesis(check: Any, seeds: Sequence[bytes], seconds: float, corpus: Path, found: Path) -> None:
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis import strategies as st

    edits = st.lists(
        st.tuples(
            st.integers(0, 999), st.integers(0, 2), st.one_of(st.sampled_from(_TOKENS), st.binary(max_size=4))
        ),
        min_size=1,
        max_size=4,
    )

    def with_edits(start: bytes, changes: Sequence[tuple[int, int, bytes]]) -> bytes:
        for place, how, token in changes:
            start = edited(start, place / 1000, how, token)
        return start[:_LONGEST]

    inputs = st.builds(with_edits, st.sampled_from(seeds or [b""]), edits)
    count, until = 0, time.monotonic() + seconds
    last = b""

    def once(data: bytes) -> None:
        nonlocal count, last
        count, last = count + 1, data
        if count % 20 == 0:
            (corpus / f"tried-{count // 20 % 500:03}").write_bytes(data)
        if time.monotonic() < until:
            check(data)

    whole = settings(
        max_examples=200,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    try:
        for data in seeds:
            once(data)
        turn = 0
        while time.monotonic() < until:
            turn += 1
            seed(turn)(whole(given(inputs)(once)))()
    except Exception:
        (found / "crash-input").write_bytes(last)
        raise
    finally:
        print(f"runs: {count}", file=sys.stderr)


def _covered(name: str, corpus: Path) -> tuple[int, int]:
    """How many lines of a target's functions its corpus reaches, and how many there are."""
    command = [sys.executable, "-m", "tests.fuzz.serving", name, str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = re.search(r"^lines: (\d+) of (\d+)$", done.stdout, re.MULTILINE)
    return (int(told[1]), int(told[2])) if told else (0, 0)


def cover(name: str, corpus: Path) -> None:
    """Print which share of the target's modules the inputs in ``corpus`` reach; in a process of its own."""
    one = _target(name)
    files = {importlib.import_module(module).__file__ or "" for module in one.covers}
    wanted = {file: set(_lines(compile(Path(file).read_bytes(), file, "exec"))) for file in files}
    reached: set[tuple[str, int]] = set()

    def local(frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            reached.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def trace(frame: FrameType, event: str, _: object) -> Any:
        return local if frame.f_code.co_filename in files else None

    with tempfile.TemporaryDirectory() as place:
        for file in sorted(corpus.iterdir()):
            data = file.read_bytes()
            threading.settrace(trace)
            sys.settrace(trace)
            try:
                one.check(data, Path(place))
            except Exception:
                traceback.clear_frames(sys.exc_info()[2])
            finally:
                sys.settrace(None)
    seen = sum(line in wanted[file] for file, line in reached)
    print(f"lines: {seen} of {sum(map(len, wanted.values()))}")


def _lines(code: CodeType, *, inside: bool = False) -> Iterator[int]:
    """The lines of all functions in a module's code; what runs on import is no achievement."""
    if inside:
        yield from {line for *_, line in code.co_lines() if line is not None and line != code.co_firstlineno}
    for each in code.co_consts:
        if isinstance(each, CodeType):
            with suppress(ValueError):
                yield from _lines(each, inside=inside or bool(each.co_flags & 0x2))
