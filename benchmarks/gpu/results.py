"""The results file of a GPU run, and the same as Markdown for ``docs/evidence/``.

    python -m benchmarks.gpu.results RESULTS.json [FOLDER]     # FOLDER: docs/evidence

A rehearsal on a CPU is refused there: it shows that the run works, and nothing about a GPU.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from harness.errors import HarnessError

__all__ = [
    "EVIDENCE",
    "FAILED",
    "INCONCLUSIVE",
    "NOT_RUN",
    "OVERRAN",
    "PASSED",
    "RUNNING",
    "VERSION",
    "as_markdown",
    "keep_as_evidence",
    "main",
    "write",
]

VERSION: Final = 2
PASSED, FAILED, INCONCLUSIVE = "passed", "failed", "inconclusive"
OVERRAN, NOT_RUN, RUNNING = "overran", "not run", "running"
"""What may have become of a leg, beside 'error': the run itself could not start or read it."""

EVIDENCE: Final = Path(__file__).resolve().parents[2] / "docs" / "evidence"
_REHEARSAL: Final = "**A rehearsal on a CPU. Nothing here says anything about a GPU.**"


def write(results: Mapping[str, Any], file: Path) -> None:
    """Write ``results`` into ``file``, and as Markdown beside it; what was there stays until it is done."""
    for path, text in (
        (file, json.dumps(results, indent=1, ensure_ascii=False) + "\n"),
        (file.with_suffix(".md"), as_markdown(results)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f"{path.suffix}.part")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)


def keep_as_evidence(file: Path, folder: Path = EVIDENCE) -> Path:
    """Copy a results file and its Markdown into ``folder``, named by date and GPU; where the page is.

    Raises HarnessError for a rehearsal, for results that name no GPU, and for a file that is no results file.
    """
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
        if results["version"] != VERSION:
            raise ValueError(f"version {results['version']}; this tree writes {VERSION}")
        rehearsal, gpus, date = results["rehearsal"], results["machine"]["gpus"], results["date"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{file}: no results file of benchmarks/gpu/run: {error!r}") from error
    if rehearsal or not gpus:
        what = "a rehearsal on a CPU" if rehearsal else "a run that saw no GPU"
        raise HarnessError(
            f"{file}: found {what}; allowed in {folder}: results of a GPU. See: benchmarks/gpu/README.md"
        )
    name = re.sub(r"[^a-z0-9]+", "-", str(gpus[0]).partition(",")[0].lower()).strip("-")
    page = folder / f"{date[:10]}-{name}.json"
    write(results, page)
    return page.with_suffix(".md")


def as_markdown(results: Mapping[str, Any]) -> str:
    """The page: circumstances first, then what became of the legs, then each of them."""
    machine = results["machine"]
    gpus = ", ".join(machine.get("gpus") or ()) or "no GPU"
    lines = [f"# The suite on {gpus}" if not results["rehearsal"] else "# Rehearsal", ""]
    if results["rehearsal"]:
        lines += [_REHEARSAL, ""]
    packages = ", ".join(
        f"{name} {version}" for name, version in machine.get("packages", {}).items() if version
    )
    lines += [
        f"- {results['date']}, `{results['command']}`, {results['seconds']:.0f} s in all",
        f"- {gpus}; {machine.get('processor', 'processor unknown')}, {machine.get('cores', '?')} cores",
        f"- Python {machine.get('python', '?')}, {packages}, CUDA of PyTorch {machine.get('cuda')}",
        f"- harness at {results['commit']}",
        "",
        *_overview(results["legs"]),
    ]
    for name, leg in results["legs"].items():
        if leg["status"] != NOT_RUN:
            lines += _leg(name, leg)
    return "\n".join(lines).rstrip() + "\n"


def _overview(legs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [
        (
            name,
            leg["status"],
            "" if leg["status"] == NOT_RUN else f"{leg['seconds']:.0f} s",
            f"{leg['estimate']} s",
            (leg.get("why", "").splitlines() or [""])[0],
        )
        for name, leg in legs.items()
    ]
    not_run = sum(leg["status"] == NOT_RUN for leg in legs.values())
    told = f"{not_run} of {len(legs)} legs were not run; nothing is known of what they would have shown."
    return [
        *_table(("leg, by worth", "status", "took", "reckoned", "why"), rows),
        "",
        *([told, ""] if not_run else []),
    ]


def _leg(name: str, leg: Mapping[str, Any]) -> list[str]:
    exit_status = f"; exit status {leg['exit']}" if leg.get("exit") is not None else ""
    lines = [
        f"## {name}",
        "",
        f"{leg['status']}, {leg['seconds']:.0f} s{exit_status}: `{leg['command']}`",
        "",
    ]
    shown = _SECTIONS.get(leg["kind"], _nothing)(leg["data"]) if leg.get("data") else []
    if leg.get("said") and "text" not in leg.get("data", {}):
        shown = [*shown, "The last that it said:", "", *_block(leg["said"])]
    return lines + shown


def _block(text: Sequence[str]) -> list[str]:
    return ["```", *text, "```", ""]


def _checks(data: Mapping[str, Any]) -> list[str]:
    counts = (
        ", ".join(f"{count} {name}" for name, count in data["counts"].items()) or "pytest wrote no report"
    )
    noted = [data["note"], ""] if "note" in data else []
    return [f"{counts}.", "", *noted, *_block(data["table"])]


def _gate(data: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for one in data["verdicts"]:
        lines += [f"**{one['verdict']}** ({one['status']}): {one['name']}: {one['sentence']}", ""]
        lines += [*(f"- {sentence}" for sentence in one["suites"]), f"- noise: {one['noise']}", ""]
    return lines or ["There is no verdict.", ""]


def _model(data: Mapping[str, Any]) -> list[str]:
    return [f"{data['parameters']:,} parameters with random weights.", ""]


def _text(data: Mapping[str, Any]) -> list[str]:
    kept = [f"- in files.tar.gz: `snapshots/{file}`" for file in data.get("kept", ())]
    return [*_block(data["text"]), *kept, ""]


def _noise(data: Mapping[str, Any]) -> list[str]:
    headings = (
        "left",
        "right",
        "cases",
        "largest abs Δp",
        "median abs Δp",
        "sd of log-odds",
        "other top letter",
    )
    rows = [
        (
            floor["left"],
            floor["right"],
            str(floor["cases"]),
            *(_figure(floor[name]) for name in ("largest", "median", "log_odds")),
            "" if floor["flips"] is None else str(floor["flips"]),
        )
        for floor in data["floors"]
    ]
    devices = [f"- {name}: {device}" for name, device in data["devices"].items()]
    errors = [f"- ERROR {name}: {why}" for name, why in data["errors"].items()]
    return [*_table(headings, rows), "", *devices, *errors, ""]


def _trap(data: Mapping[str, Any]) -> list[str]:
    factors = ", ".join(f"{factor:.3f}" for factor in data["factors"])
    return [
        f"Without its guard, stage two of one case alone is scaled: **{data['trap']}** (factors {factors}; "
        "1.250 is what the default temperature of 0.8 gives, 1.000 none).",
        "",
    ]


def _costs(data: Mapping[str, Any]) -> list[str]:
    timed = [path for path in data["paths"] if path["seconds"]]
    least = min(min(path["seconds"]) for path in timed)
    rows = [
        (
            path["engine"],
            path["path"],
            " ".join(f"{1000 * seconds:.3g}" for seconds in path["seconds"])
            or f"not timed: {path['problem']}",
            f"{min(path['seconds']) / least:.2f}" if path["seconds"] else "",
            path["device"],
        )
        for path in data["paths"]
    ]
    return [
        f"{data['cases']} cases, a worker for each path and round, after a warm-up. Each answer's numbers "
        "were copied from the device, so its work was done when the clock stopped.",
        "",
        *_table(("engine", "path", "ms a case, each round", "of the cheapest", "device"), rows),
        "",
    ]


def _nothing(_: Mapping[str, Any]) -> list[str]:
    return []


_SECTIONS = {
    "doctor": _text,
    "model": _model,
    "checks": _checks,
    "gate": _gate,
    "floor": _text,
    "noise": _noise,
    "trap": _trap,
    "costs": _costs,
}


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [headings, ["---"] * len(headings), *rows]
    return ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in cells]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Keep a results file as evidence; the exit status: 1 if it is refused."""
    given = [Path(each) for each in (sys.argv[1:] if arguments is None else arguments)]
    if not 1 <= len(given) <= 2:
        print("usage: python -m benchmarks.gpu.results RESULTS.json [FOLDER]", file=sys.stderr)
        return 2
    try:
        print(keep_as_evidence(*given))
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
