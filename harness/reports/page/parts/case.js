// All there is to one case, shown where its row is opened.

const PASSES = { PASSED: "passed", FAILED: "failed", KNOWN: "known failure", ERROR: "error" };

function detail(entry, page) {
  return el("div", { class: "detail" },
    el("div", { class: "asked" },
      el("div", { class: "pictures" }, (entry.images.length ? entry.images : [null]).map((key) =>
        thumbnail(key, page.pictures, page.report.images, "large"))),
      el("div", {},
        entry.system && [el("h3", {}, "System message"), el("p", { class: "prompt" }, entry.system)],
        el("h3", {}, "Prompt"),
        el("p", { class: "prompt" }, entry.prompt === null ? "not known: the case is in no suite any more" : entry.prompt),
        el("p", { class: "small" }, el("span", { class: "mono" }, entry.place)))),
    el("p", { class: "reason" }, badge(entry.verdict), " ", entry.reason),
    entry.errors.length > 0 && el("ul", { class: "errors" }, entry.errors.map((text) => el("li", {}, text))),
    entry.question.length > 0 && el("div", {}, el("h3", {}, "About the two questions"),
      el("ul", {}, entry.question.map((text) => el("li", {}, text)))),
    el("div", { class: "numbers" },
      el("div", {}, el("h3", {}, "Probabilities"), distributions(entry)),
      el("div", {}, el("h3", {}, "Metrics and limits"), metrics(entry))),
    el("div", { class: "numbers" },
      el("div", {}, el("h3", {}, "What was written"), written(entry, page)),
      entry.history.length > 0 && el("div", {}, el("h3", {}, `Earlier runs: probability of ${entry.expect}`), earlier(entry))),
    entry.checks.length > 0 && el("p", { class: "small" }, "Checks: ",
      entry.checks.map((one, place) => `${place ? "; " : ""}${one.check} (${one.engine}) ${PASSES[one.status]}`)),
    el("div", { class: "command" }, entry.command && [el("h3", {}, "To reproduce"), copies(entry.command, "Copy")],
      copies(markdown(entry, page.comparison), "Copy case as Markdown", { hidden: true })));
}

function distributions(entry) {
  const sides = [["baseline", entry.baseline], ["candidate", entry.candidate]];
  const row = (name, shares, isExpected) =>
    el("tr", {},
      el("th", { scope: "row" }, name, isExpected && el("span", { class: "small" }, " expected")),
      el("td", { class: "bars" }, sides.map(([side], place) => bar(side, shares[place]))),
      el("td", { class: "number" }, shares.map((share, place) =>
        el("span", { class: "value" }, el("span", { class: "unseen" }, `${sides[place][0]} `), shareText(share)))));
  const rest = (answer) => {
    if (!answer || !answer.reached) return null;
    const total = (values) => values.reduce((sum, value) => sum + (value ?? 0), 0);
    return { least: Math.max(0, 1 - total(answer.most)), most: Math.max(0, 1 - total(answer.least)) };
  };
  const letters = entry.letters.map((letter, place) =>
    row(letter, sides.map(([, answer]) => (answer && answer.reached ? { least: answer.least[place], most: answer.most[place] } : null)),
      letter === entry.expect));
  return [el("table", { class: "distribution" },
    el("caption", { class: "unseen" }, `Probabilities of the letters in ${entry.case}`),
    el("thead", { class: "unseen" }, el("tr", {}, ["letter", "bars", "probability"].map((title) => el("th", { scope: "col" }, title)))),
    el("tbody", {}, letters, row("other tokens", sides.map(([, answer]) => rest(answer)), false))),
  el("p", { class: "legend" },
    el("span", {}, el("span", { class: "key baseline", "aria-hidden": "true" }), "baseline, above"),
    el("span", {}, el("span", { class: "key candidate", "aria-hidden": "true" }), "candidate, below"),
    sides.some(([, answer]) => answer && answer.partial) && el("span", {}, el("span", { class: "key open", "aria-hidden": "true" }), "only known to be no larger"))];
}

function bar(side, share) {
  const box = el("span", { class: `bar ${side}` });
  if (!share || !isNumber(share.most)) return box;
  const sure = el("span", { class: "sure" });
  sure.style.width = `${100 * (share.least ?? 0)}%`;
  box.append(sure);
  if (share.most > share.least) {
    const open = el("span", { class: "open" });
    open.style.width = `${Math.max(0.5, 100 * (share.most - share.least))}%`;
    box.append(open);
  }
  return box;
}

function metrics(entry) {
  if (!entry.metrics.length) return el("p", { class: "small" }, "None: there are no two answers to compare.");
  return el("table", { class: "metrics" },
    el("caption", { class: "unseen" }, `Metrics of ${entry.case}`),
    el("thead", {}, el("tr", {}, ["metric", "#value", "#limit", ""].map((title) =>
      el("th", { scope: "col", class: title.startsWith("#") ? "number" : "" }, title.replace("#", "") || el("span", { class: "unseen" }, "within"))))),
    el("tbody", {}, entry.metrics.map((one) => {
      const over = one.limit !== null && !(isNumber(one.value) && one.value <= one.limit);
      return el("tr", { class: over ? "over" : "" },
        el("th", { scope: "row" }, one.name, one.where && el("span", { class: "small" }, ` of ${one.where}`)),
        el("td", { class: "number" }, one.bounded && "≤ ", figure(one.value)),
        el("td", { class: "number" }, one.limit === null ? "none" : figure(one.limit)),
        el("td", {}, one.limit === null ? "" : over ? "over" : "within"));
    }),
    entry.gap !== null && el("tr", {}, el("th", { scope: "row" }, "margin of the top letter"),
      el("td", { class: "number" }, figure(entry.gap)), el("td", { class: "number" }, "none"), el("td", {})),
    entry.flip_probability !== null && el("tr", {}, el("th", { scope: "row" }, "chance of a flip by noise"),
      el("td", { class: "number" }, figure(entry.flip_probability)), el("td", { class: "number" }, "none"), el("td", {}))));
}

function written(entry, page) {
  const sides = [["baseline", entry.baseline, page.comparison.baseline], ["candidate", entry.candidate, page.comparison.candidate]];
  return el("dl", { class: "written" }, sides.map(([name, answer, side]) => [
    el("dt", {}, name, el("span", { class: "small" }, ` ${side.label}`)),
    el("dd", {}, answer ? el("code", {}, answer.text === "" ? "(nothing)" : answer.text) : "no answer",
      answer && el("span", { class: "small" }, ` ${covered(answer)}`))]));
}

function covered(answer) {
  const { reported, within, lowest, rank } = answer.coverage;
  if (!answer.reached) return "never reached the letter";
  const ranked = rank === null ? "" : `lowest letter ${lowest}, rank ${rank}`;
  if (reported === null) return ranked;
  const said = within === null ? "" : within ? `all letters in its top ${reported}` : `letters outside its top ${reported}`;
  return [said, ranked].filter(Boolean).join("; ");
}

function earlier(entry) {
  const now = expectedShare(entry, entry.candidate);
  const points = entry.history.map((one) => one.probability);
  const last = now && now.least === now.most ? now.least : null;
  const first = entry.history[0];
  const label = `Probability of ${entry.expect} in ${count(entry.history.length, "earlier run")}: ${probability(first.probability)} on ${first.when.slice(0, 10)}, ${probability(last)} now`;
  return [sparkline([...points, last], label),
    el("details", {}, el("summary", {}, count(entry.history.length, "earlier run")),
      table(`Earlier runs of ${entry.case}`, ["run", "version", "fingerprint", "#probability", "#log-odds"],
        entry.history.map((one) => el("tr", {}, el("th", { scope: "row" }, one.when.slice(0, 10)), el("td", {}, one.version || UNKNOWN),
          el("td", { class: "mono" }, one.fingerprint), el("td", { class: "number" }, probability(one.probability)),
          el("td", { class: "number" }, figure(one.log_odds)))), { hidden: true }))];
}

function copies(text, name, { hidden = false } = {}) {
  const code = el("code", {}, text);
  const box = el("pre", { hidden }, code);
  const said = el("span", { class: "small", role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = "copied";
    } catch {
      // Not every browser lets a file from disk write to the clipboard: select, so that a key does it.
      box.hidden = false;
      getSelection().selectAllChildren(code);
      said.textContent = "selected: press Ctrl or Cmd and C";
    }
  };
  return el("div", { class: "copy" }, box, el("button", { type: "button", onclick: copy }, name), said);
}

// A case as one pastes it into an issue.
function markdown(entry, comparison) {
  const cell = (text) => String(text).replaceAll("|", "\\|").replaceAll("\n", " ");
  const lines = (head, rows) => ["", `| ${head.join(" | ")} |`, `| ${head.map(() => "---").join(" | ")} |`, ...rows.map((row) => `| ${row.map(cell).join(" | ")} |`)];
  const share = (answer, place) => shareText(answer?.reached ? { least: answer.least[place], most: answer.most[place] } : null);
  const block = (text) => {
    const fence = "~".repeat(Math.max(3, ...[...text.matchAll(/~+/g)].map(([run]) => run.length + 1)));
    return ["", fence, text, fence];
  };
  return [`### ${entry.case}: ${entry.verdict}`, "", `${comparison.candidate.label} against ${comparison.baseline.label}`, "", entry.reason,
    ...(entry.errors.length ? block(entry.errors.join("\n")) : []), ...entry.question.map((text) => `\n- ${text}`),
    ...lines(["letter", "baseline", "candidate"], entry.letters.map((letter, place) => [letter === entry.expect ? `${letter} (expected)` : letter, share(entry.baseline, place), share(entry.candidate, place)])),
    ...(entry.metrics.length ? lines(["metric", "value", "limit"], entry.metrics.map((one) => [one.name + (one.where && ` of ${one.where}`), (one.bounded ? "≤ " : "") + figure(one.value), one.limit === null ? "none" : figure(one.limit)])) : []),
    "", `baseline: ${comparison.baseline.device}`, `candidate: ${comparison.candidate.device}`, `case: ${entry.place}`,
    ...(entry.prompt === null ? [] : block(entry.prompt)), ...(entry.command ? block(entry.command) : []), ""].join("\n");
}
