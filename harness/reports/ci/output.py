"""Tells the service that runs the tests what happened: at present GitHub's.

Which one it is, is read from the environment: ``GITHUB_ACTIONS`` is ``true`` there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.reports.breakdown import Breakdown
from harness.reports.ci.github import MOST_BYTES, Level, annotation, annotations_of, cell, step_summary
from harness.reports.ci.github_checks import checks_annotations, checks_summary
from harness.reports.summary import CheckSummary, Tally
from harness.verdicts.verdict import ComparisonVerdict

__all__ = ["GitHub", "github_here", "tell_checks", "tell_refusal", "tell_sentences", "tell_verdicts"]

_NO_ROOM = "There is more to tell than GitHub's limit of a step's summary allows: see the log.\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHub:
    """Where GitHub looks: ``summary``, the file of the step's summary, and ``workspace``, the checkout."""

    summary: Path | None
    workspace: Path | None

    def append(self, markdown: str) -> None:
        """Add to the step's summary, or a sentence where it would grow too large to be shown.

        Raises OSError where the file cannot be written.
        """
        if self.summary is None:
            return
        there = self.summary.stat().st_size if self.summary.exists() else 0
        for text in (markdown, _NO_ROOM):
            if there + len(text.encode()) <= MOST_BYTES:
                with self.summary.open("a", encoding="utf-8") as file:
                    file.write(text)
                return


def github_here(environ: Mapping[str, str]) -> GitHub | None:
    """GitHub as the environment describes it, None where this is no step of a GitHub workflow."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return None
    summary, workspace = environ.get("GITHUB_STEP_SUMMARY"), environ.get("GITHUB_WORKSPACE")
    return GitHub(
        summary=Path(summary) if summary else None, workspace=Path(workspace) if workspace else None
    )


def tell_verdicts(
    verdicts: Sequence[ComparisonVerdict],
    *,
    environ: Mapping[str, str],
    write_line: Callable[[str], None],
    changed: Sequence[Sequence[str]] = (),
    found: Sequence[Breakdown] = (),
    report: str = "",
) -> None:
    """Tell comparisons: the step's summary, and annotations on standard output through ``write_line``.

    Does nothing outside CI. ``changed``, ``found`` and ``report`` are as for
    `harness.reports.ci.github.step_summary`.
    """
    if (github := github_here(environ)) is None or not verdicts:
        return
    _append(github, step_summary(verdicts, changed=changed, found=found, report=report), write_line)
    for line in annotations_of(verdicts, workspace=github.workspace, folder=Path.cwd()):
        write_line(line)


def tell_sentences(
    sentences: Sequence[str], *, environ: Mapping[str, str], write_line: Callable[[str], None]
) -> None:
    """Tell a gate whose comparison is not at hand, by what is said of it."""
    if (github := github_here(environ)) is not None:
        _append(github, "".join(f"## {cell(sentence)}\n\n" for sentence in sentences), write_line)


def tell_refusal(text: str, *, environ: Mapping[str, str], write_line: Callable[[str], None]) -> None:
    """Tell that nothing was judged, and why: ``text`` is an error's."""
    if (github := github_here(environ)) is not None:
        _append(github, f"## Nothing was judged\n\n{cell(text)}\n\n", write_line)
        write_line(annotation(Level.ERROR, title="Nothing was judged", message=text))


def tell_checks(
    summaries: Sequence[CheckSummary],
    *,
    environ: Mapping[str, str],
    write_line: Callable[[str], None],
    reasons: Mapping[str, str],
    tallies: Sequence[Tally] = (),
) -> None:
    """Tell the checks of a run of the suite, as `tell_verdicts` tells comparisons; see `checks_summary`."""
    if (github := github_here(environ)) is None or not (summaries or tallies):
        return
    _append(github, checks_summary(summaries, tallies=tallies, reasons=reasons), write_line)
    summaries = [*summaries, *(one for tally in tallies for row in tally.rows for one in row)]
    for line in checks_annotations(summaries, workspace=github.workspace, folder=Path.cwd(), reasons=reasons):
        write_line(line)


def _append(github: GitHub, markdown: str, write_line: Callable[[str], None]) -> None:
    try:
        github.append(markdown)
    except OSError as error:
        # What was found is in the log as well; a file that cannot be written is no reason to lose the run.
        told = f"GITHUB_STEP_SUMMARY cannot be written: {error}"
        write_line(annotation(Level.WARNING, title="no step summary", message=told))
