// The first thing on the page: how it ended, a row for each engine, and a grid of cases and engines.

// A dot and its interval on a scale that the rows of a column share; `at` is where nothing moved, if anywhere.
function whisker(estimate, [low, high], at = null) {
  const [width, pad] = [64, 4];
  const x = (value) => pad + (Math.min(Math.max((value - low) / (high - low || 1), 0), 1)) * (width - 2 * pad);
  return svg("svg", { class: "whisker", width, height: 12, viewBox: `0 0 ${width} 12`, "aria-hidden": "true" },
    at === null ? null : svg("line", { class: "grid", x1: x(at), x2: x(at), y1: 0, y2: 12 }),
    svg("line", { class: "reach", x1: x(estimate.low ?? estimate.value), x2: x(estimate.high ?? estimate.value), y1: 6, y2: 6 }),
    svg("circle", { cx: x(estimate.value), cy: 6, r: 2.6 }));
}

function scaleOf(estimates, ...more) {
  const values = [...estimates.flatMap((one) => (one ? [one.low, one.value, one.high] : [])), ...more].filter(isNumber);
  return values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
}

// A spread is a factor: twice the noise is as far from 1 as half of it.
const logs = (one) => (one ? Object.fromEntries(Object.entries(one).map(([name, value]) => [name, Math.log(Math.max(value, 1e-3))])) : null);

// Names may break where people would break them.
const broken = (name) => name.split(/(?<=[_./-])/).flatMap((part, place) => (place ? [el("wbr"), part] : [part]));

// What is shared by all, such as a profile's name, tells nothing.
function shortened(labels) {
  const first = labels[0].slice(0, labels[0].lastIndexOf("/") + 1);
  return labels.every((label) => label.startsWith(first) && !label.slice(first.length).includes("/")) ? labels.map((label) => label.slice(first.length)) : labels;
}

function drawAll(section, page) {
  const { comparisons } = page.report;
  if (comparisons.length === 1) {
    put(section, ending(comparisons[0], "h1"), matrix(page));
    return;
  }
  const failing = page.report.engines.filter((one) => one.against && comparisons[one.comparison].status !== "PASSED");
  const worst = comparisons[page.first];
  const names = failing.map((one) => one.label).join(", ");
  const asked = byId("ran")?.dataset.gate === "none" ? ["would not pass a gate", "None of the engines would fail a gate; none was asked for."] : [failing.length === 1 ? "does not pass" : "do not pass", `All ${comparisons.length} pass.`];
  put(section,
    el("h1", { id: "all-title", class: `verdict ${shade(worst.verdict, worst.words)}` }, icon(worst.verdict, 34), el("span", {}, worst.words)),
    el("p", { class: "sentence" }, failing.length ? `${failing.length} of ${count(comparisons.length, "engine")} ${asked[0]}: ${names}.` : asked[1]),
    matrix(page));
  page.grid = new Grid(page, section);
}

function matrix(page) {
  const { engines, comparisons } = page.report;
  const baselines = engines.filter((one) => !one.against);
  const paced = engines.some((one) => one.pace);
  const shares = scaleOf(engines.map((one) => one.accuracy));
  const spreads = scaleOf(engines.map((one) => logs(one.spread)), 0);
  const estimate = (one, scale, show, at = null) => (one === null ? UNKNOWN : [whisker(at === null ? one : logs(one), scale, at), el("span", { class: "figure" }, show(one.value)),
    el("span", { class: at === null ? "interval" : "unseen" }, ` ${show(one.low).replace("%", "")}–${show(one.high)}`)]);
  const row = (one) => {
    const told = comparisons[one.comparison];
    const entry = one.worst ? told.cases.find((each) => each.case === one.worst) : null;
    const open = () => page.show(one.comparison);
    const cells = el("tr", { class: one.against ? "row" : "", "data-comparison": one.against ? one.comparison : null },
      el("th", { scope: "row" }, one.against ? el("button", { type: "button", class: "leads", onclick: open }, broken(one.label)) : broken(one.label),
        !one.against ? el("span", { class: "interval" }, " reference") : baselines.length > 1 && el("span", { class: "interval" }, ` against ${one.against}`)),
      el("td", {}, one.verdict ? badge(one.verdict, one.words) : ""),
      el("td", {}, estimate(one.accuracy, shares, percent)),
      el("td", {}, one.against ? estimate(one.spread, spreads, figure, 0) : ""),
      el("td", { class: "number" }, one.flips ?? ""),
      el("td", {}, entry ? el("button", { type: "button", class: "leads", onclick: () => page.show(one.comparison, entry) }, broken(one.worst)) : ""),
      paced && el("td", { class: "number" }, one.pace ? figure(one.pace.cases / one.pace.seconds) : UNKNOWN),
      paced && el("td", { class: "number" }, one.pace?.tokens ? figure(one.pace.tokens / one.pace.seconds) : UNKNOWN));
    if (one.against) cells.addEventListener("click", (event) => { if (!event.target.closest("button") && !String(getSelection())) open(); });
    return cells;
  };
  const columns = ["engine", "verdict", "accuracy [95%]", "spread × noise [90%]", "#flips", "worst case", ...(paced ? ["#cases/s", "#tokens/s"] : [])];
  return [table("Every engine, all its cases together; a row opens its comparison", columns, engines.map(row), { hidden: true, kind: "matrix" }),
    paced && el("p", { class: "small" }, "Speed: of the harness's own questions without loading, tokens of prompt and answer; only where one start of the engine on this machine made all its answers.")];
}

class Grid {
  constructor(page, section) {
    this.page = page;
    const { engines, comparisons } = page.report;
    const names = shortened(engines.map((one) => one.label));
    this.columns = engines.map((one, place) => ({ ...one, place, name: names[place], cases: this.cellsOf(one, comparisons) }));
    const rows = new Map();
    for (const one of comparisons) for (const entry of one.cases) if (!rows.has(entry.case)) rows.set(entry.case, entry);
    this.rows = [...rows.values()].map((entry) => ({ entry, cells: this.columns.map((column) => column.cases.get(entry.case)) }));
    for (const row of this.rows) row.badness = this.badness(row);
    this.rows.sort((a, b) => a.badness.reduce((found, value, place) => found || value - b.badness[place], 0));
    [this.start, this.size] = [0, 12];
    const candidates = this.columns.filter((column) => column.against);
    this.filters = new Filters({ id: "grid", entries: [...rows.values()], changed: () => this.update({ first: true }),
      selects: [["engine", "Engine", [["", "all engines"], ...candidates.map((column) => [column.place, column.name])]],
        ["verdict", "Verdict", [["", "all verdicts"], ...VERDICTS.map((name) => [name, name.toLowerCase()])]]] });
    this.status = el("p", { class: "small", role: "status", id: "grid-count" });
    [this.head, this.body, this.pager] = [el("tr"), el("tbody"), el("nav", { class: "pager", "aria-label": "Pages of the grid" })];
    section.append(el("h2", { id: "grid-title" }, "Cases and engines"),
      el("div", { class: "filters", role: "search", "aria-label": "Filter the grid" }, this.filters.elements, downloads("engines.csv", () => this.csv())), this.status,
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "grid-title" },
        el("table", { class: "cells", id: "grid" }, el("caption", { class: "unseen" }, "What each engine answered, the worst cases first; a cell opens the case"), el("thead", {}, this.head), this.body)),
      el("p", { class: "legend" }, VERDICTS.map((verdict) => el("span", {}, icon(verdict, 13), verdict.toLowerCase())), el("span", {}, el("span", { class: "wrong" }, "B"), "wrong")),
      this.pager);
    this.update();
  }

  // By case: which comparison and entry a cell shows. A baseline's are of the first comparison that has the case.
  cellsOf(engine, comparisons) {
    const cells = new Map();
    comparisons.forEach((one, place) => {
      if (engine.against ? place !== engine.comparison : one.baseline.label !== engine.label) return;
      for (const entry of one.cases) if (!cells.has(entry.case)) cells.set(entry.case, { place, entry, answer: engine.against ? entry.candidate : entry.baseline, verdict: engine.against ? entry.verdict : null });
    });
    return cells;
  }

  // The worst verdict, then top letters that changed, other verdicts, and the farthest move; the least is the worst.
  badness({ cells }) {
    const told = cells.filter((cell) => cell?.verdict);
    const known = told.map((cell) => steps(cell.entry)).filter(isNumber);
    const times = (of) => -told.filter(of).length;
    return [Math.min(...told.map((cell) => VERDICTS.indexOf(cell.verdict))), times((cell) => cell.entry.flip), times((cell) => !quiet(cell.verdict)), known.length ? -Math.max(...known) : 0];
  }

  get shown() {
    const only = this.filters.value("engine");
    return this.columns.filter((column) => only === "" || !column.against || column.place === Number(only));
  }

  update({ first = false, printed = false } = {}) {
    if (first) this.start = 0;
    const [columns, verdict] = [this.shown, this.filters.value("verdict")];
    this.list = this.rows.filter((row) => this.filters.fits(row.entry) && columns.some(({ place }) => row.cells[place]?.verdict && (!verdict || row.cells[place].verdict === verdict)));
    if (printed) this.list = this.list.filter((row) => columns.some(({ place }) => row.cells[place] && matters(row.cells[place].entry)));
    const size = printed ? Infinity : this.size;
    put(this.head, el("th", { scope: "col" }, "case"), el("th", { scope: "col" }, el("span", { title: "The expected letter" }, "exp.")), columns.map((column) => el("th", { scope: "col" }, broken(column.name))));
    put(this.body, this.list.slice(printed ? 0 : this.start, printed ? undefined : this.start + size).map((row) => this.row(row, columns)));
    if (!this.list.length) this.body.append(el("tr", {}, el("td", { colspan: columns.length + 2, class: "nothing" }, `No case is like that.${this.filters.hint}`)));
    const [all, found] = [this.rows.length, this.list.length];
    this.status.textContent = printed ? `${found} of ${count(all, "case")}: those that are neither the same nor noise, or wrong.` : found === all ? `${count(all, "case")}, the worst first` : `${found} of ${count(all, "case")}, the worst first`;
    pager(this.pager, { start: this.start, size, total: this.list.length, go: (start) => { this.start = start; this.update(); byId("grid-title").scrollIntoView(); } });
  }

  row({ entry, cells }, columns) {
    return el("tr", {}, el("th", { scope: "row" }, entry.case), el("td", {}, entry.expect), columns.map(({ place, name }) => {
      const cell = cells[place];
      if (!cell) return el("td", {}, UNKNOWN);
      const { answer, verdict } = cell;
      const right = answer?.right ?? null;
      const index = answer?.reached && answer.top ? cell.entry.letters.indexOf(answer.top) : -1;
      const share = index < 0 ? "" : shareText({ least: answer.least[index], most: answer.most[index] });
      return el("td", { class: verdict && !quiet(verdict) ? `hot ${verdict}` : "" },
        el("button", { type: "button", class: "cell", title: `${entry.case}, ${name}${verdict ? `: ${verdict.toLowerCase()}` : ""}`, onclick: () => this.page.show(cell.place, cell.entry) },
          verdict && icon(verdict, 12), el("span", { class: right === false ? "wrong" : "" }, topOf(answer)), el("span", { class: "share" }, share),
          el("span", { class: "unseen" }, `${right === null ? "" : right ? " right" : " wrong"}${verdict ? `, ${verdict.toLowerCase()}` : ""}`)));
    }));
  }

  csv() {
    const columns = this.shown;
    return [["case", "suite", "expected", "tags", ...columns.flatMap(({ label }) => [`${label} answer`, `${label} p expected`, `${label} right`, `${label} verdict`])],
      ...this.list.map(({ entry, cells }) => [entry.case, entry.suite, entry.expect, entry.tags.join(" "), ...columns.flatMap(({ place }) => {
        const cell = cells[place];
        return cell ? [topOf(cell.answer), expectedShare(cell.entry, cell.answer)?.most, cell.answer?.right, cell.verdict] : ["", "", "", ""];
      })])];
  }
}
