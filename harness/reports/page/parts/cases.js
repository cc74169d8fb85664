// The table of cases: sorted, filtered, a page of rows at a time, each of which opens.

const COLUMNS = [
  { key: "case", title: "case", get: (entry) => entry.case },
  { key: "verdict", title: "verdict", get: (entry) => VERDICTS.indexOf(entry.verdict), also: (entry) => -(steps(entry) ?? -1) },
  { key: "expect", title: "expected", kind: "wide-only", get: (entry) => entry.expect },
  { key: "answer", title: "answer", get: (entry) => answers(entry) },
  { key: "before", title: "p baseline", long: "Probability of the expected letter, baseline", kind: "number wide-only", get: (entry) => expectedShare(entry, entry.baseline)?.most ?? null },
  { key: "after", title: "p candidate", long: "Probability of the expected letter, candidate", kind: "number wide-only", get: (entry) => expectedShare(entry, entry.candidate)?.most ?? null },
  { key: "worst", title: "|Δp|", long: "Largest change of a probability", kind: "number wide-only", most: true, get: (entry) => metric(entry, "|Δp|")?.value ?? null },
  { key: "moved", title: "log-odds", long: "Largest change of log-odds", kind: "number wide-only", most: true, get: (entry) => entry.largest },
  { key: "steps", title: "in σ", long: "That change in standard deviations of noise", kind: "number", most: true, get: (entry) => steps(entry) },
  { key: "gap", title: "margin", long: "Log-odds of the baseline's top letter above the next", kind: "number wide-only", get: (entry) => entry.gap },
];

const steps = (entry) => (entry.largest === null || !entry.sigma ? null : entry.largest / entry.sigma);
const metric = (entry, name) => entry.metrics.find((one) => one.name === name);
const topOf = (answer) => (!answer ? UNKNOWN : !answer.reached ? "none" : answer.top ?? "?");
const answers = (entry) => {
  // A flip may be to a token that is no letter.
  const [before, after] = [entry.flip?.before ?? topOf(entry.baseline), entry.flip?.after ?? topOf(entry.candidate)];
  return before === after ? before : `${before} → ${after}`;
};

function ordered(entries, key, direction) {
  const column = COLUMNS.find((one) => one.key === key);
  const value = (entry) => {
    const found = column.get(entry);
    return found === "nan" ? Infinity : found === "inf" ? Number.MAX_VALUE : found;
  };
  const keyed = entries.map((entry) => [value(entry), column.also ? column.also(entry) : 0, entry]);
  const compare = (a, b) => (typeof a === "string" && typeof b === "string" ? a.localeCompare(b, "en", { numeric: true }) : a < b ? -1 : a > b ? 1 : 0);
  keyed.sort(([a, a2, one], [b, b2, other]) => {
    if (a === null || b === null) return (a === null) - (b === null) || compare(one.case, other.case); // unknown comes last
    return direction * compare(a, b) || compare(a2, b2) || compare(one.case, other.case);
  });
  return keyed.map(([, , entry]) => entry);
}

class CaseTable {
  constructor(page, section) {
    this.page = page;
    this.entries = page.comparison.cases;
    this.sort = { key: "verdict", direction: 1 };
    this.open = new Set();
    this.current = null;
    this.start = 0;
    this.size = 50;
    this.controls(section);
    this.update();
  }

  controls(section) {
    const changed = () => this.update({ first: true });
    const options = (of, names, all) => [["", all], ...names.map((name) => [name, `${name === name.toUpperCase() ? name.toLowerCase() : name} (${this.entries.filter((entry) => of(entry) === name).length})`])];
    this.filters = new Filters({ id: "filter", entries: this.entries, changed, ticks: [["flipped", "flipped only"]], selects: [
      ["verdict", "Verdict", options((entry) => entry.verdict, VERDICTS, "all verdicts")],
      ["suite", "Suite", options((entry) => entry.suite, [...new Set(this.entries.map((entry) => entry.suite))], "all suites")]] });
    const select = (id, label, all, kind, onchange) => {
      const input = el("select", { id, onchange: () => onchange(input.value) }, all.map(([value, text]) => el("option", { value }, text)));
      return [input, el("label", { class: `field ${kind}`, for: id }, el("span", {}, label), input)];
    };
    const [sort, sortField] = select("sort-by", "Sort by", COLUMNS.map((column) => [column.key, column.long ?? column.title]), "narrow-only", (key) => this.sortBy(key, { again: false }));
    const [, sizeField] = select("rows", "Rows", [["50", "50"], ["200", "200"], ["0", "all"]], "", (rows) => { this.size = Number(rows) || Infinity; changed(); });
    this.sorting = sort;
    this.status = el("p", { class: "small", role: "status", id: "case-count" });
    this.head = el("tr");
    this.body = el("tbody");
    this.pager = el("nav", { class: "pager", "aria-label": "Pages of cases" });
    section.append(
      el("div", { class: "filters", role: "search", "aria-label": "Filter the cases" }, this.filters.elements, sortField, sizeField,
        downloads("cases.csv", () => this.csv())),
      el("label", { class: "tick keys", for: "keys" }, this.page.keys, el("span", {}, el("kbd", {}, "J"), " next case, ", el("kbd", {}, "K"), " previous case")),
      this.status,
      el("table", { class: "cases", id: "case-table" },
        el("caption", { class: "unseen" }, "Cases; a case opens when its name is pressed"), el("thead", {}, this.head), this.body),
      this.pager);
  }

  sortBy(key, { again = true } = {}) {
    const column = COLUMNS.find((one) => one.key === key);
    const first = column.most ? -1 : 1;
    this.sort = { key, direction: again && this.sort.key === key ? -this.sort.direction : first };
    this.update({ first: true });
    this.head.querySelector(`[data-key="${key}"]`)?.focus();
  }

  show(verdict) {
    this.filters.clear();
    this.filters.inputs.verdict.value = verdict;
    this.update({ first: true });
  }

  found() {
    const [verdict, suite, flipped] = ["verdict", "suite", "flipped"].map((name) => this.filters.value(name));
    const kept = this.entries.filter((entry) => (!verdict || entry.verdict === verdict) && (!suite || entry.suite === suite) &&
      (!flipped || entry.flip !== null) && this.filters.fits(entry));
    return ordered(kept, this.sort.key, this.sort.direction);
  }

  update({ first = false, printed = false } = {}) {
    if (first) this.start = 0;
    this.list = this.found();
    if (this.start >= this.list.length) this.start = 0;
    this.sorting.value = this.sort.key;
    this.drawHead();
    const shown = printed ? this.list.filter(matters) : this.list.slice(this.start, this.start + this.size);
    put(this.body, shown.map((entry) => this.row(entry)));
    if (!shown.length) this.body.append(el("tr", {}, el("td", { colspan: COLUMNS.length, class: "nothing" }, `No case is like that.${this.filters.hint}`)));
    const all = this.entries.length;
    this.status.textContent = printed ? `${shown.length} of ${count(all, "case")}: those that are neither the same nor noise, wrong or flipped.`
      : this.list.length === all ? count(all, "case") : `${this.list.length} of ${count(all, "case")}`;
    pager(this.pager, { start: this.start, size: this.size, total: this.list.length, go: (start) => {
      this.start = start;
      this.update();
      byId("cases").scrollIntoView();
      this.body.querySelector("button")?.focus({ preventScroll: true });
    } });
  }

  csv() {
    return [["case", "suite", "verdict", "expected", "answer baseline", "answer candidate", ...COLUMNS.filter((column) => column.kind?.startsWith("number")).map((column) => column.long ?? column.title), "tags", "place"],
      ...this.list.map((entry) => [entry.case, entry.suite, entry.verdict, entry.expect, topOf(entry.baseline), topOf(entry.candidate),
        ...COLUMNS.filter((column) => column.kind?.startsWith("number")).map((column) => column.get(entry)), entry.tags.join(" "), entry.place])];
  }

  drawHead() {
    this.head.replaceChildren(...COLUMNS.map((column) => {
      const own = this.sort.key === column.key;
      const direction = own ? (this.sort.direction === 1 ? "ascending" : "descending") : "none";
      return el("th", { scope: "col", class: column.kind ?? "", "aria-sort": direction },
        el("button", { type: "button", "data-key": column.key, title: column.long, onclick: () => this.sortBy(column.key) },
          column.title, el("span", { class: "arrow", "aria-hidden": "true" }, own ? (this.sort.direction === 1 ? "▲" : "▼") : "")));
    }));
  }

  row(entry) {
    const isOpen = this.open.has(entry);
    const id = `case-${this.entries.indexOf(entry)}`;
    const worst = metric(entry, "|Δp|");
    const right = entry.candidate ? entry.candidate.right : null;
    const shares = [entry.baseline, entry.candidate].map((answer) => shareText(expectedShare(entry, answer)));
    const cells = [
      badge(entry.verdict), entry.expect,
      [el("span", { class: entry.flip ? "flip" : "" }, answers(entry)),
        right !== null && el("span", { class: "small" }, right ? " right" : " wrong")],
      shares[0], shares[1], worst ? `${worst.bounded ? "≤ " : ""}${figure(worst.value)}` : UNKNOWN,
      figure(entry.largest), figure(steps(entry)), figure(entry.gap)];
    const row = el("tr", { id, class: `row ${isOpen ? "is-open" : ""}`, "data-case": entry.case },
      el("th", { scope: "row" }, el("span", { class: "name" }, thumbnail(entry.images[0] ?? null, this.page.pictures, this.page.report.images, "tiny"),
        el("button", { type: "button", class: "opens", "aria-expanded": String(isOpen), "aria-controls": isOpen ? `${id}-detail` : null,
          onclick: () => this.toggle(entry) }, entry.case))),
      cells.map((cell, place) => el("td", { class: COLUMNS[place + 1].kind ?? "" }, cell)));
    row.addEventListener("click", (event) => {
      if (!event.target.closest("button, a") && !String(getSelection())) this.toggle(entry);
    });
    if (!isOpen) return [row];
    return [row, el("tr", { class: "opened", id: `${id}-detail` }, el("td", { colspan: COLUMNS.length }, detail(entry, this.page)))];
  }

  toggle(entry) {
    this.current = entry;
    if (this.open.has(entry)) this.open.delete(entry);
    else {
      this.open.add(entry);
      this.page.linkTo(entry);
    }
    this.redraw(entry);
    this.button(entry)?.focus({ preventScroll: true });
  }

  redraw(entry) {
    const row = byId(`case-${this.entries.indexOf(entry)}`);
    if (row.nextElementSibling?.classList.contains("opened")) row.nextElementSibling.remove();
    row.replaceWith(...this.row(entry));
  }

  button(entry) {
    return byId(`case-${this.entries.indexOf(entry)}`)?.querySelector("button.opens");
  }

  goTo(entry) {
    this.current = entry;
    if (!this.list.includes(entry)) {
      this.filters.clear();
      this.update({ first: true });
    }
    this.open.add(entry);
    const place = this.list.indexOf(entry);
    this.start = this.size === Infinity ? 0 : Math.floor(place / this.size) * this.size;
    this.update();
    this.page.linkTo(entry);
    byId(`case-${this.entries.indexOf(entry)}`).scrollIntoView();
    this.button(entry).focus({ preventScroll: true });
  }
  // The next or the previous case of what is listed, in place of the one that is open.
  step(by) {
    const place = this.list.indexOf(this.current);
    const next = this.list[place < 0 ? 0 : place + by];
    if (!next) return;
    this.open.delete(this.current);
    this.goTo(next);
  }
}
