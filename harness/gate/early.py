"""A gate that looks before all cases are asked, and ends the candidate where a break is decided.

What is SAME, or within the margin, is never decided early: then all cases are asked, and judged as ever with
what the looks left of the share of false alarms.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from harness.cases.folder import Loaded
from harness.cases.suites import Suite
from harness.errors import EngineError, GateError
from harness.gate.comparable import is_upgrade, renamed_since
from harness.gate.comparison import Comparison, Terms, compare_sides, refused
from harness.gate.gating import Sides, drop_rows
from harness.gate.looks_kept import LooksKept
from harness.gate.side import GateSide, Kept, load_side, unasked_side
from harness.recordings.fingerprint import digest, engine_id_of
from harness.scoring.scoring import Scoring
from harness.scoring.stored_runs import store_run
from harness.scoring.subjects import Subject
from harness.verdicts.evidence import look_sizes
from harness.verdicts.findings import Finding
from harness.verdicts.rules import ALPHA
from harness.verdicts.verdict import ExitStatus

__all__ = ["gate_early"]

_SEED = "looks 1"  # of the order in which cases are asked


def gate_early(
    sides: Sides,
    loaded: Loaded,
    scoring: Scoring,
    terms: Terms,
    suites: Sequence[Suite],
    *,
    at_most: int | None = None,
    anew: bool = False,
) -> Comparison:
    """Compare ``sides`` as `harness.gate.gating.gate` does, but end the candidate once a break is decided.

    The baseline is there or is made whole first. Of the candidate ``at_most`` so many more cases are asked,
    or as many as the next look takes. ``anew`` leaves former looks behind. Raises as `gate` and `LooksKept`,
    and `GateError` for a candidate that is not asked, or is another model.
    """
    if not sides.candidate.live:
        raise GateError(
            f"--stop-early: found the candidate {sides.candidate.text!r}, which has its answers; allowed: an "
            "engine as it is now, which is asked case by case"
        )
    kept = Kept(folder=loaded.folder, suites=suites, scoring=scoring)
    before = {file.name for file in scoring.store.rows_folder.glob("*.npy")}
    whole = sides.baseline.subjects(kept.cases)
    scoring.make(whole)
    baseline = load_side(sides.baseline, kept)
    store_run(scoring, whole, folder=loaded.folder)
    if not baseline.recordings:
        why = next(iter(baseline.errors.values()), "it was asked no case")
        return refused(baseline, unasked_side(sides.candidate, kept), f"the baseline gave no answer: {why}")
    every = [*terms.every, *(case.name for case in kept.cases)]
    terms = replace(terms, every=every, again=[*sides.command, *terms.again])
    found = _Looking(sides, baseline, kept, loaded, terms).compared(at_most, anew=anew)
    found = replace(found, damaged=(*scoring.store.damage(), *kept.runs.damage()))
    drop_rows([found], scoring, before)
    return found


@dataclass(slots=True)
class _Looking:
    """``order`` is that of the cases, ``asked`` and ``keys`` the hash and the recording's key of each."""

    sides: Sides
    baseline: GateSide
    kept: Kept
    loaded: Loaded
    terms: Terms
    order: list[Subject] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    found: Comparison | None = None

    def compared(self, at_most: int | None, *, anew: bool) -> Comparison:
        """What the looks, or the last of them, say."""
        scoring, every = self.kept.scoring, self.sides.candidate.subjects(self.kept.cases)
        try:
            candidate = engine_id_of(scoring.key(every[0])) if every else ""
        except EngineError:  # no engine, no looks: each case says why
            return self._judged(every)
        pair = digest({"baseline": digest(dict(self.baseline.fingerprint)), "candidate": candidate})
        looks = LooksKept(scoring.store.root, pair, self._rule(), anew=anew)
        groups = self._sort(every, looks)
        whole, former = sum(groups), set(looks.cases)
        sizes = look_sizes(groups, batch=every[0].engine.settings.batch_size)
        known, until = sum(one in former for one in self.asked), whole
        if at_most is not None:
            until = min(whole, max(known + at_most, next((size for size in sizes if size > known), whole)))
        waiting = [size for size in sizes if size <= until and size < whole]

        def enough(left: Collection[str]) -> bool:
            while waiting and set(self.keys[: waiting[0]]).isdisjoint(left):
                size = waiting.pop(0)
                told = self._told(self._judged(self.order[:size]), size, looks, last=False)
                if told.looks:
                    self.found = told
                    self.taken.append(size)
                    if told.verdict.settled:
                        return True
            return False

        now = self.order if until == whole else self.order[:until]
        scoring.make(now, enough=enough)
        if (self.found is not None and self.found.verdict.settled) or enough(()):
            now = [
                one for one, key in zip(self.order, self.keys, strict=True) if key and scoring.store.get(key)
            ]
        store_run(scoring, now, folder=self.kept.folder)
        if self.found is not None and self.found.verdict.settled:
            return self._stopped(self.found, len(now))
        if until < whole:
            return self._unfinished(self.found or self._judged(now))
        return self._told(self._judged(self.order), whole, looks, last=True)

    def _sort(self, every: Sequence[Subject], looks: LooksKept) -> list[int]:
        """The order, and how many cases of one image stand together in it, of those the baseline has.

        First what was looked at before, as it was, then images by a hash; last what is not compared.
        """
        questions, keys = {}, dict[str, str]()
        for subject in every:
            try:
                questions[subject.case.name] = self.kept.scoring.asked(subject)
                keys[subject.case.name] = self.kept.scoring.key(subject)
            except EngineError:  # an image that cannot be read
                continue
        renamed = renamed_since(self.baseline, questions, self.kept.cases)
        compared = {renamed.get(case, case) for case in self.baseline.cases} & keys.keys()
        asked = {name: digest(question) for name, question in questions.items()}
        images = {name: str(question["images"] or name) for name, question in questions.items()}
        former = {case: place for place, case in enumerate(looks.cases)}

        def place(name: str) -> tuple[int, str, str]:
            image, question = (digest({"seed": _SEED, "of": text}) for text in (images[name], asked[name]))
            return former.get(asked[name], len(former)), image, question

        names = sorted(compared, key=place)
        by_name = {subject.case.name: subject for subject in every}
        groups = [len(list(own)) for _, own in groupby(names, key=images.__getitem__)]
        names += [name for name in by_name if name not in compared]
        self.order = [by_name[name] for name in names]
        self.asked, self.keys = ([held.get(name, "") for name in names] for held in (asked, keys))
        return groups

    def _judged(self, subjects: Sequence[Subject]) -> Comparison:
        """The comparison on the cases of ``subjects``; of all of them also what one side only has."""
        names, suites = {subject.case.name for subject in subjects}, self.kept.suites
        if len(names) < len(self.order):
            chosen = [(suite, tuple(c for c in suite.cases if c.name in names)) for suite in suites]
            suites = [replace(suite, cases=cases) for suite, cases in chosen if cases]
        candidate = load_side(self.sides.candidate, replace(self.kept, suites=suites))
        scoring, profiles = self.kept.scoring, self.loaded.profiles
        return compare_sides(self.baseline, candidate, suites, profiles, scoring, self.terms)

    def _rule(self) -> dict[str, str]:
        profile, terms = self.sides.candidate.profile, self.terms
        return {
            "margin": "of budgets and dtypes" if terms.margin is None else f"{terms.margin:g}",
            "strict": str(terms.strict),
            "allowed": ", ".join(sorted(terms.allow)) or "nothing",
            "budgets of the profile": "" if profile is None else repr(profile.budgets),
            **{f"budgets of {suite.name}": repr(suite.budgets) for suite in self.kept.suites},
        }

    def _told(self, found: Comparison, size: int, looks: LooksKept, *, last: bool) -> Comparison:
        """The comparison judged with the share of this look, which it spends; without an answer none."""
        verdict = found.verdict
        if found.judged is None or all(change.agreement is None for change in found.changes):
            return found
        if is_upgrade(self.baseline, found.candidate, self.terms.allow):
            raise GateError(
                f"--stop-early: found another model, {found.candidate.model} after {self.baseline.model}, "
                "which is judged by accuracy over all cases; allowed: sides of one model; or no --stop-early"
            )
        seen = [(c.baseline, c.candidate, c.sigma, c.answers, c.rest) for c in verdict.cases]
        data = digest({"seen": repr(seen), "noise": verdict.noise, "asked": [c.asked for c in found.changes]})
        share = looks.share(data, self.asked[:size], last=last)
        earlier = f"after looks at {', '.join(map(str, self.taken))} cases" if self.taken else "a first look"
        text = f"looks: {earlier}; judged with {share:.2%} of the {ALPHA:.0%} of false alarms of all looks"
        if looks.forgotten:
            text += f"; begun anew, and {looks.forgotten} former looks are not counted"
        return replace(found, verdict=found.judged(alpha=share), looks=text)

    def _stopped(self, found: Comparison, asked: int) -> Comparison:
        size, every = self.taken[-1], len(self.order)
        text = f"decided after {size} of {every} cases; {every - asked} were not asked"
        text += f", {asked - size} not judged" if asked > size else ""
        head, _, rest = found.verdict.sentence.partition(":")
        return replace(found, verdict=replace(found.verdict, sentence=f"{head}, {text}:{rest}"))

    def _unfinished(self, found: Comparison) -> Comparison:
        """Nothing passes, and nothing fails for what may be taken back."""
        whole, judged = found.verdict.whole, found.judged
        if whole is None or judged is None:
            return found
        names = tuple(case.name for case in found.cases)
        again = shlex.join([*self.terms.again, "--stop-early"])
        text = f"not decided after {len(names)} of {len(self.order)} cases; to go on: {again}"
        more = Finding(name="not all asked", text=text, cases=names, blocks=True)
        verdict = judged(alpha=whole.evidence[0].alpha, findings=(more, *judged.keywords["findings"]))
        if verdict.status is ExitStatus.FAILED:
            sentence = f"{verdict.sentence}; whether that matters is not decided"
            verdict = replace(verdict, status=ExitStatus.INCONCLUSIVE, sentence=sentence)
        return replace(found, verdict=verdict)
