// The sections of the page beside the table of cases; each draws one comparison.

const ENDS = {
  PASSED: ["The gate passes", 0],
  FAILED: ["The gate does not pass: right answers lost, a wide margin flipped, or a move not shown within the margin", 1],
  ERROR: ["The gate ends in error: an engine could not answer", 2], INCONCLUSIVE: ["The gate is inconclusive: too little is known", 3],
};
const KINDS = { version: "version", package: "package", model: "model", setting: "setting", "as loaded": "as loaded", machine: "machine", other: "other" };

// What was found before the numbers, the verdict, and how a gate ends with it.
function ending(comparison, title) {
  const [gate, status] = ENDS[comparison.status];
  const ends = byId("ran")?.dataset.gate === "none" ? gate.replace("The gate", "As a gate this") : gate;
  const text = comparison.sentence.startsWith(`${comparison.words}: `) ? comparison.sentence.slice(comparison.words.length + 2) : comparison.sentence;
  return [comparison.findings.map((one) => el("p", { class: `finding${one.blocks ? " blocks" : ""}` }, one.text)),
    el(title, { id: title === "h1" ? "all-title" : "verdict-title", class: `verdict ${shade(comparison.verdict, comparison.words)}` }, icon(comparison.verdict, title === "h1" ? 34 : 24), el("span", {}, comparison.words)),
    title !== "h1" && el("p", { class: "label" }, comparison.name),
    el("p", { class: "sentence" }, text, /[.!?]$/.test(text) ? "" : "."),
    el("p", { class: "status" }, `${ends}${comparison.words.endsWith(" within the margin") ? ": what moved is shown to be within the margin" : ""} (exit status ${status}).`),
    comparison.where.length > 0 && el("p", { class: "where" }, `Where: ${[...Map.groupBy(comparison.where, (one) => `${one.kind} ${one.name}`)]
      .map(([place, found]) => `${place} (${found.map((one) => one.evidence.name).join(", ")})`).join("; ")}.`)];
}

function drawVerdict(section, comparison, page) {
  const told = comparison.whole ? [comparison.whole] : comparison.suites.filter((suite) => suite.verdict === comparison.verdict).slice(0, 3);
  const counts = VERDICTS.map((verdict) => [verdict, comparison.cases.filter((entry) => entry.verdict === verdict).length]);
  put(section, page.report.comparisons.length > 1 ? ending(comparison, "h2") : el("h2", { id: "verdict-title", class: "unseen" }, "The verdict"),
    el("div", { class: "counts", role: "group", "aria-label": "Number of cases by verdict" },
      counts.filter(([, number]) => number > 0).map(([verdict, number]) =>
        el("button", { type: "button", class: `count ${verdict}`, onclick: () => { page.table.show(verdict); byId("cases").scrollIntoView(); byId("filter-verdict").focus({ preventScroll: true }); } },
          icon(verdict), el("strong", {}, number.toLocaleString("en")), ` ${verdict.toLowerCase()}`))),
    told.length > 0 && el("div", { class: "reasons" }, el("h2", {}, "Why"),
      el("div", { class: "columns" }, told.map((suite) => el("div", {}, told.length > 1 && el("h3", {}, suite.suite),
        el("ul", {}, suite.reasons.map((reason) => el("li", {}, reason))))))),
    el("div", { class: "sides" }, [["Baseline", comparison.baseline], ["Candidate", comparison.candidate]].map(([title, side]) =>
      el("div", { class: "side" }, el("h3", {}, title), el("p", { class: "label" }, side.label), el("p", { class: "small" }, side.device),
        el("p", { class: "small" }, [side.model, side.dtype, side.made ? `of ${side.made.slice(0, 10)}` : answered(side) && "made in this run"].filter(Boolean).join(" · "))))),
    comparison.notes.length > 0 ? el("ul", { class: "notes" }, comparison.notes.map((note) => el("li", {}, note))) : "");
}

const answered = (side) => Object.keys(side.fingerprint).length > 0;

function drawChanged(section, comparison) {
  const shown = (value) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return /^[0-9a-f]{64}$/.test(text) ? `${text.slice(0, 12)}…` : text;
  };
  const rows = (differences) => differences.map((one) => el("tr", {},
    el("td", { class: "small" }, KINDS[one.kind]), el("th", { scope: "row", class: "mono" }, one.path.replace(/^(installed|environment)\.packages\./, "")),
    el("td", { class: "mono" }, el("span", { class: "stacked" }, "before "), shown(one.before)),
    el("td", { class: "mono" }, el("span", { class: "stacked" }, "after "), shown(one.after))));
  const asked = comparison.findings.some((one) => one.name === "question");
  const [before, after] = [comparison.baseline, comparison.candidate].map((side) => side.fingerprint.settings?.kind);
  const expected = before && after && before !== after && comparison.changed.length > 0;
  const list = () => some(comparison.changed, 10, (items) => table("What differs between the two sides' fingerprints", ["about", "what", "baseline", "candidate"], rows(items), { hidden: true, kind: "changes" }), "difference");
  put(section, heading("changed", "What changed"),
    asked && el("p", {}, "The question: the two sides were not asked the same, as told above the verdict."),
    expected ? el("details", { class: "folded" }, el("summary", {}, `${count(comparison.changed.length, "difference")}, as is to be expected between ${before} and ${after}`), list())
      : comparison.changed.length
      ? list()
      : el("p", {}, [comparison.baseline, comparison.candidate].every(answered) ? "Nothing differs between the two sides' fingerprints."
        : "Not known: an engine that gave no answer has no fingerprint."));
}

const interval = (estimate, show = figure) => (estimate === null ? UNKNOWN
  : [show(estimate.value), el("span", { class: "interval" }, ` ${show(estimate.low)} to ${show(estimate.high)}`)]);

function drawSuites(section, comparison) {
  const judged = [comparison.whole, ...comparison.suites].filter(Boolean);
  const rows = judged.map((suite) => el("tr", {},
    el("th", { scope: "row" }, suite.suite),
    el("td", {}, badge(suite.verdict, suite.words)),
    el("td", { class: "number" }, suite.cases, suite.clusters !== suite.cases && el("span", { class: "interval" }, ` ${count(suite.clusters, "group")}`)),
    el("td", { class: "number" }, interval(suite.spread)), el("td", { class: "number" }, interval(suite.shift, signed)),
    el("td", { class: "number" }, suite.accuracy === null ? UNKNOWN : `${percent(suite.accuracy[0])} → ${percent(suite.accuracy[1])}`,
      suite.accuracy_change && el("span", { class: "interval" }, ` ${change(suite.accuracy_change)}`)),
    el("td", { class: "number" }, suite.flips, el("span", { class: "interval" }, ` ${figure(suite.expected_flips, 2)} expected`)),
    el("td", {}, suite.evidence.filter((one) => one.found).map((one) => one.name).join(", ") || "nothing")));
  put(section, heading("suites", "Suites"),
    table("All cases together, and the suites: the ends of intervals hold with 95% confidence each; those of accuracy are 95% intervals", ["suite", "verdict", "#cases", "#spread, × noise", "#shift, log-odds", "#accuracy", "#flips", "found"], rows),
    judged.map((suite) => el("details", { class: "evidence" },
      el("summary", {}, el("span", { class: shade(suite.verdict, suite.words) }, icon(suite.verdict)), ` Evidence: ${suite.suite}`),
      el("p", {}, suite.sentence),
      el("ul", {}, suite.reasons.map((reason) => el("li", {}, reason))),
      table(`Tests on ${suite.suite}; an effect is found where the adjusted p is at most ${figure(suite.evidence[0]?.alpha ?? null)}`, ["test", "#p", "#adjusted", "found", "what was seen"],
        suite.evidence.map((one) => el("tr", {}, el("th", { scope: "row" }, one.name, el("span", { class: "small block" }, one.rule)),
          el("td", { class: "number" }, figure(one.p, 2)), el("td", { class: "number" }, figure(one.adjusted, 2)),
          el("td", {}, one.found ? el("strong", {}, "found") : "no"), el("td", {}, one.text)))))),
    el("p", { class: "small" }, `Noise: ${comparison.noise}.`,
      judged.some((suite) => suite.margin > 0) && ` Margin for SAME: ${[...new Set(judged.map((suite) => figure(suite.margin)))].join(", ")} in log-odds.`));
}

const points = (share) => `${share > 0 ? "+" : ""}${(100 * share).toFixed(1)}`.replaceAll("-", "−");
const change = (one) => `${points(one.value ?? one.candidate - one.baseline)} points [${points(one.low)}, ${points(one.high)}]`;

// What was lost, gained and moved, in numbers.
function drawTold(section, comparison) {
  const { accuracy, mass, taken } = comparison;
  const groups = (title, all) => table(`Right answers by ${title}`, [title, "#cases", "accuracy", "change [95%]", "#lost", "#gained"],
    Object.entries(all).map(([name, one]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "number" }, one.cases),
      el("td", {}, `${percent(one.baseline)} → ${percent(one.candidate)}`), el("td", {}, change(one)),
      el("td", { class: "number" }, one.lost), el("td", { class: "number" }, one.gained))));
  const names = (title, list) => list.length > 0 && el("p", {}, el("strong", {}, `${title} (${list.length}): `), list.slice(0, 100).join(", "), list.length > 100 && ", …");
  const range = (one) => `${percent(one.value)} [${percent(one.low)}, ${percent(one.high)}]`;
  put(section, heading("told", "Lost, gained and moved"),
    !accuracy ? el("p", {}, "No case's answers are known on both sides.") : [
      el("p", {}, "Accuracy ", comparison.whole?.accuracies ? comparison.whole.accuracies.map(range).join(" → ") : "", `, ${change(accuracy.change)} (95%).`),
      names("Lost", accuracy.lost), names("Gained", accuracy.gained),
      accuracy.letters.length > 0 && el("p", {}, "Answers: ", accuracy.letters.map(([a, b, times]) => `${a} → ${b} ${times}`).join(", "), "."),
      Object.keys(accuracy.tags).length > 0 && groups("tag", accuracy.tags), groups("expected letter", accuracy.expected)],
    mass && el("p", {}, `Probability on the letters, mean: ${figure(mass.baseline, 6)} → ${figure(mass.candidate, 6)}.`,
      mass.lost.length > 0 && ` Lost most: ${mass.lost.slice(0, 5).map((one) => `${one.case} ${figure(one.baseline, 4)} → ${figure(one.candidate, 4)}`).join(", ")}.`),
    taken.length > 0 && table("Tokens that are no letters and gained probability", ["token", "#id", "#gained, mean", "#cases", "most in", "#log p there"],
      taken.map((one) => el("tr", {}, el("th", { scope: "row", class: "mono" }, one.text ?? UNKNOWN), el("td", { class: "number" }, one.id),
        el("td", { class: "number" }, figure(one.gained)), el("td", { class: "number" }, one.cases), el("td", {}, one.case), el("td", { class: "number" }, figure(one.logprob))))));
}

function drawCharts(section, comparison, page) {
  const limit = median(comparison.cases.map((entry) => entry.limit));
  const scatterBox = el("div", { class: "chart-box", id: "scatter" });
  const gapBox = el("div", { class: "chart-box", id: "gaps" });
  const every = el("input", { type: "checkbox", id: "all-letters", onchange: () => scatter() });
  const seen = VERDICTS.filter((verdict) => verdict !== "ERROR" && comparison.cases.some((entry) => entry.verdict === verdict));
  const band = limit === null ? "" : `The band is ±${figure(limit)}, the median over the cases of what noise allows.`;
  put(section, heading("charts", "How far the answers moved"),
    el("div", { class: "pair" },
      el("figure", {}, el("figcaption", {}, el("h3", {}, "Log-odds, candidate against baseline"),
        el("p", { class: "small" }, `On the diagonal nothing moved. ${band}`)),
      el("label", { class: "tick", for: "all-letters" }, every, "all letters, not only the expected one"), scatterBox,
      legend(seen, [["ring-key", "another top letter"], ["band-key", "noise"]])),
      el("figure", {}, el("figcaption", {}, el("h3", {}, "Change against margin"),
        el("p", { class: "small" }, "The margin is how far the baseline's top letter is above the next. Another letter comes to the top only on or above the dashed line, where the change is half the margin.")),
      gapBox, legend(seen, [["ring-key", "another top letter"], ["band-key", "noise"], ["dash-key", "half the margin"]]))),
    el("p", { class: "small" }, "A point leads to its case; the table below has the same numbers."));

  const pick = (entry) => page.table.goTo(entry);
  function scatter() {
    const points = [];
    for (const entry of comparison.cases) {
      if (!entry.baseline || !entry.candidate) continue;
      entry.letters.forEach((letter, place) => {
        if (!every.checked && letter !== entry.expect) return;
        // By the judged difference: a side that saw fewer letters is centred over these.
        const a = entry.baseline.log_odds[place];
        const b = isNumber(entry.difference[place]) ? a + entry.difference[place] : null;
        if (isNumber(a) && isNumber(b)) points.push({ x: a, y: b, entry, letter, verdict: entry.verdict, flipped: entry.flip !== null && letter === entry.expect });
      });
    }
    if (!points.length) {
      scatterBox.replaceChildren(el("p", { class: "small" }, "No case has log-odds on both sides."));
      return;
    }
    const values = points.flatMap((point) => [point.x, point.y]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    chart({
      box: scatterBox, points, pick, xScale: linear(low, high), yScale: linear(low, high),
      xTitle: "log-odds, baseline", yTitle: "log-odds, candidate",
      label: `Scatter of the log-odds of ${every.checked ? "all letters" : "the expected letter"}: ${count(points.length, "point")}, from ${figure(low)} to ${figure(high)}; ${count(comparison.cases.filter((entry) => entry.flip !== null).length, "case")} with another top letter.`,
      under: (inside, x, y) => {
        const [from, to] = [low - (high - low) - 1, high + (high - low) + 1];
        if (limit !== null) {
          const corner = (at, off) => `${x(at)},${y(at + off)}`;
          inside.append(svg("polygon", { class: "band", points: [corner(from, limit), corner(to, limit), corner(to, -limit), corner(from, -limit)].join(" ") }));
        }
        inside.append(svg("line", { class: "diagonal", x1: x(from), y1: y(from), x2: x(to), y2: y(to) }));
      },
      tell: (point) => `${point.entry.case}, ${point.letter}: ${figure(point.x)} → ${figure(point.y)}, ${point.verdict.toLowerCase()}${point.flipped ? ", another top letter" : ""}`,
    });
  }
  function gaps() {
    const points = comparison.cases.filter((entry) => entry.gap !== null && entry.largest !== null)
      .map((entry) => ({ x: entry.gap, y: entry.largest, entry, verdict: entry.verdict, flipped: entry.flip !== null }));
    if (!points.length) {
      gapBox.replaceChildren(el("p", { class: "small" }, "No case has a margin and a change."));
      return;
    }
    const range = (values) => {
      const known = values.filter((value) => value > 0);
      const top = Math.max(...known, 1e-6);
      return logarithmic(Math.max(Math.min(...known, top), top * 1e-6), top);
    };
    const [xScale, yScale] = [range(points.map((point) => point.x)), range([...points.map((point) => point.y), limit ?? 0])];
    chart({
      box: gapBox, points, pick, xScale, yScale, xTitle: "margin of the baseline's top letter, log-odds", yTitle: "largest change, log-odds",
      label: `Largest change of each case against its margin: ${count(points.length, "case")}, ${points.filter((point) => limit !== null && point.y > limit).length} above the noise band, ${points.filter((point) => point.flipped).length} flipped.`,
      under: (inside, x, y) => {
        if (limit !== null) {
          const top = Math.max(y(limit), y(yScale.to));
          inside.append(svg("rect", { class: "band", x: x(xScale.from), y: top, width: x(xScale.to) - x(xScale.from), height: Math.max(0, y(yScale.from) - top) }));
          inside.append(svg("line", { class: "edge", x1: x(xScale.from), x2: x(xScale.to), y1: top, y2: top }));
        }
        // Both scales are logarithmic, so half the margin is a straight line; it may leave the picture below.
        const start = Math.max(xScale.from, 2 * yScale.from);
        inside.append(svg("line", { class: "half", x1: x(start), y1: y(start / 2), x2: x(xScale.to), y2: y(xScale.to / 2) }));
      },
      tell: (point) => `${point.entry.case}: moved ${figure(point.y)}, margin ${figure(point.x)}, ${point.verdict.toLowerCase()}${point.flipped ? `, ${answers(point.entry)}` : ""}`,
    });
  }
  scatter();
  gaps();
}

const caseLink = (entry, page) => el("a", { href: page.address(entry), onclick: (event) => { event.preventDefault(); page.table.goTo(entry); } }, entry.case);

function drawFlips(section, comparison, page) {
  const flips = comparison.cases.filter((entry) => entry.flip !== null)
    .sort((a, b) => (a.flip_probability ?? 0) - (b.flip_probability ?? 0) || (b.gap ?? 0) - (a.gap ?? 0));
  const expected = comparison.suites.reduce((sum, suite) => sum + (suite.expected_flips ?? 0), 0);
  const rows = (items) => items.map((entry) => el("tr", {},
    el("th", { scope: "row" }, caseLink(entry, page)), el("td", {}, answers(entry)), el("td", {}, entry.flip.kind), el("td", { class: "number" }, figure(entry.gap)),
    el("td", { class: "number" }, figure(entry.flip_probability, 2)), el("td", {}, badge(entry.verdict))));
  put(section, heading("flips", "Flips"),
    el("p", {}, `${count(flips.length, "top letter")} changed; noise alone would change ${figure(expected, 2)}.`,
      flips.length > 0 && " The least probable under noise come first: near-ties may flip, wide margins may not."),
    flips.length ? some(flips, 12, (items) => table("Cases whose top letter changed", ["case", "answer", "what it did", "#margin", "#chance by noise", "verdict"], rows(items), { hidden: true }), "flip") : "");
}

const RANKS = [[1, 4, "1 to 4"], [5, 5, "5"], [6, 10, "6 to 10"], [11, 20, "11 to 20"], [21, 50, "21 to 50"], [51, 100, "51 to 100"], [101, Infinity, "beyond 100"]];

function drawCoverage(section, comparison, page) {
  const sides = [["baseline", comparison.baseline], ["candidate", comparison.candidate]];
  const answered = (name) => comparison.cases.map((entry) => entry[name]).filter((answer) => answer && answer.reached);
  const words = sides.map(([name, side]) => {
    const all = answered(name);
    const known = all.filter((answer) => answer.coverage.within !== null);
    const sizes = [...new Set(all.map((answer) => answer.coverage.reported).filter(isNumber))];
    if (!known.length) return el("li", {}, el("strong", {}, side.label), " reports no top tokens that could be held against the letters.");
    const within = known.filter((answer) => answer.coverage.within).length;
    return el("li", {}, el("strong", {}, side.label), ` reports the top ${sizes.join(", ")}: every letter is among them in ${within} of ${count(known.length, "case")}.`);
  });
  const ranks = sides.map(([name]) => answered(name).map((answer) => answer.coverage.rank).filter(isNumber));
  const most = Math.max(1, ...ranks.map((own) => own.length));
  const cell = (own, from, to, name) => {
    const number = own.filter((rank) => rank >= from && rank <= to).length;
    return el("td", { class: "number" }, number || UNKNOWN, bar(name, { least: number / most, most: number / most }));
  };
  const rows = RANKS.map(([from, to, text]) => el("tr", {}, el("th", { scope: "row" }, text), ranks.map((own, place) => cell(own, from, to, sides[place][0]))));
  const outside = comparison.cases.filter((entry) => sides.some(([name]) => entry[name]?.coverage.within === false))
    .sort((a, b) => Math.max(b.baseline?.coverage.rank ?? 0, b.candidate?.coverage.rank ?? 0) - Math.max(a.baseline?.coverage.rank ?? 0, a.candidate?.coverage.rank ?? 0));
  put(section, heading("coverage", "Top-k coverage"),
    el("p", {}, "Whether the most probable tokens that an engine reports hold every letter: what a reader of that list alone would not see."),
    el("ul", {}, words),
    ranks.some((own) => own.length) ? table("Rank of the lowest letter among all tokens, number of cases", ["rank", "#baseline", "#candidate"], rows, { kind: "ranks" }) : "",
    outside.length ? el("details", {}, el("summary", {}, `${count(outside.length, "case")} with a letter outside`),
      some(outside, 20, (items) => table("Cases with a letter outside the reported top", ["case", "baseline", "candidate"], items.map((entry) => el("tr", {},
        el("th", { scope: "row" }, caseLink(entry, page)), sides.map(([name]) => el("td", {}, entry[name] ? covered(entry[name]) : UNKNOWN)))), { hidden: true }), "case")) : "");
}

function drawHistory(section, comparison, page) {
  const { runs } = comparison;
  put(section, heading("history", "History"));
  if (!runs.length) {
    section.append(el("p", {}, "No run of the candidate's engine is stored."));
    return;
  }
  const label = `Share of right answers in ${count(runs.length, "line")} of stored runs, the oldest first: ${runs.map((one) => (one.accuracy ? percent(one.accuracy.value) : UNKNOWN)).join(", ")}.`;
  const row = (one) => {
    const entry = comparison.cases.find((each) => each.case === one.case);
    return el("tr", { class: one.shown ? "now" : "" },
      el("th", { scope: "row" }, one.until.slice(0, 16).replace("T", " "), one.runs > 1 && el("span", { class: "interval" }, `${one.runs} runs since ${one.when.slice(0, 10)}`), one.shown && el("span", { class: "interval" }, "this comparison")),
      el("td", {}, one.version || UNKNOWN), el("td", { class: "mono" }, one.fingerprint),
      el("td", { class: "number" }, one.cases, one.errors > 0 && el("span", { class: "interval" }, `${one.errors} without an answer`)),
      el("td", { class: "number" }, interval(one.accuracy, percent)), el("td", { class: "number" }, figure(one.spread)),
      el("td", { class: "number" }, figure(one.largest), entry && el("span", { class: "interval" }, caseLink(entry, page))));
  };
  section.append(el("p", {}, "All cases together in the stored runs of the candidate's engine, the newest first. Moved: how far log-odds are from those that each case had before. Runs may have asked other cases, so compare what has the same number of cases."),
    sparkline(runs.map((one) => one.accuracy?.value ?? null), label),
    some([...runs].reverse(), 10, (items) => table("Stored runs, over all cases", ["run", "version", "fingerprint", "#cases", "#right [95%]", "#moved, mean", "#moved most"], items.map(row), { hidden: true }), "line"));
}

function drawMade(footer, report, comparison) {
  const sides = [["Baseline", comparison.baseline], ["Candidate", comparison.candidate]];
  const onCpu = sides.filter(([, side]) => /plug-in/i.test(side.device));
  put(footer, 
    el("p", {}, `Made ${report.made.replace("T", " at ").slice(0, 19)} by vlm-consistency-harness ${report.harness}, report version ${report.version}.`),
    sides.map(([title, side]) => el("p", {}, `${title}: ${side.label}, ${side.device}.`)),
    onCpu.length ? el("p", {}, `${onCpu.map(([title]) => title).join(" and ")} ran on the CPU device plug-in: what is shown of it is not a GPU's.`) : "",
    el("p", {}, "This page asks the network for nothing; its data is in it."));
}
