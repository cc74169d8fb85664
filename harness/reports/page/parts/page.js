// Puts the page together: which comparison is shown, the theme, and addresses that lead to a case.

class Page {
  constructor(report) {
    const read = (id) => JSON.parse(byId(id).textContent);
    this.report = report;
    this.pictures = read("pictures");
    this.explained = byId("explanations") ? read("explanations") : [];
    this.theme();
    this.first = report.engines.find((one) => one.against).comparison; // the worst
    this.keys = this.listen();
    drawAll(byId("all"), this);
    const wanted = this.wanted();
    this.select(wanted.comparison);
    this.follow(wanted.name);
    addEventListener("hashchange", () => {
      const next = this.wanted();
      if (next.comparison !== this.place) this.select(next.comparison);
      this.follow(next.name);
    });
  }

  // #case=NAME&comparison=2, the latter counted from 1 and left out for the one that the page opens with.
  wanted() {
    const parts = new URLSearchParams(location.hash.slice(1));
    const place = Number(parts.get("comparison") ?? this.first + 1) - 1;
    return { comparison: this.report.comparisons[place] ? place : this.first, name: parts.get("case") };
  }

  address(entry) {
    const parts = new URLSearchParams();
    if (entry) parts.set("case", entry.case);
    if (this.place !== this.first) parts.set("comparison", this.place + 1);
    return `#${parts}`;
  }

  linkTo(entry) {
    history.replaceState(null, "", this.address(entry));
  }

  follow(name) {
    const entry = name && this.comparison.cases.find((one) => one.case === name);
    if (entry) this.table.goTo(entry);
  }

  // One click away from every row and every cell: a comparison, or a case in it.
  show(place, entry = null) {
    if (place !== this.place) this.select(place);
    if (entry) this.table.goTo(entry);
    else {
      this.linkTo(null);
      byId("verdict").scrollIntoView();
      byId("comparisons")?.children[place].focus({ preventScroll: true });
    }
  }

  // J and K lead through the cases, but not out of what one types in, and not where they are switched off.
  listen() {
    const on = el("input", { id: "keys", type: "checkbox", checked: stored("vlm-harness-keys") !== "off", onchange: () => stored("vlm-harness-keys", on.checked ? "on" : "off") });
    addEventListener("keydown", (event) => {
      const by = { j: 1, k: -1 }[event.key.toLowerCase()];
      if (!by || !on.checked || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
      event.preventDefault();
      this.table.step(by);
    });
    const print = (printed) => {
      for (const one of [this.table, this.grid]) one?.update({ printed });
      for (const image of document.querySelectorAll("img[loading=lazy]")) image.loading = printed ? "eager" : "lazy";
    };
    addEventListener("beforeprint", () => print(true));
    addEventListener("afterprint", () => print(false));
    return on;
  }

  select(place) {
    this.place = place;
    this.comparison = this.report.comparisons[place];
    this.drawComparisons();
    drawVerdict(byId("verdict"), this.comparison, this);
    drawChanged(byId("changed"), this.comparison);
    drawExplained(this.comparison, this);
    drawSuites(byId("suites"), this.comparison);
    drawTold(byId("told"), this.comparison);
    byId("cases").replaceChildren(heading("cases", "Cases"));
    this.table = new CaseTable(this, byId("cases"));
    drawCharts(byId("charts"), this.comparison, this);
    drawFlips(byId("flips"), this.comparison, this);
    drawCoverage(byId("coverage"), this.comparison, this);
    drawHistory(byId("history"), this.comparison, this);
    for (const row of document.querySelectorAll("[data-comparison]")) row.classList.toggle("is-open", this.report.comparisons.length > 1 && Number(row.dataset.comparison) === place);
    drawMade(byId("made"), this.report, this.comparison);
    const failed = Number(byId("ran")?.dataset.failed ?? 0);
    document.title = `${failed ? `${failed} failed; ` : ""}${this.comparison.words}: ${this.comparison.name}`;
  }

  drawComparisons() {
    const box = byId("comparisons");
    if (this.report.comparisons.length < 2) {
      box.remove();
      return;
    }
    const { comparisons } = this.report;
    const several = new Set(comparisons.map((one) => one.baseline.label)).size > 1;
    box.replaceChildren(...comparisons.map((one, place) =>
      el("button", { type: "button", class: "tab", "aria-current": place === this.place ? "true" : null, onclick: () => {
        this.select(place);
        this.linkTo(null);
        byId("comparisons").children[place].focus();
      } }, icon(one.verdict), several ? one.name : one.candidate.label, el("span", { class: "unseen" }, `: ${one.words}`))));
  }

  theme() {
    const button = byId("theme");
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const set = () => {
      const [own, system] = [stored("vlm-harness-theme"), dark.matches ? "dark" : "light"];
      document.documentElement.dataset.theme = own ?? system;
      button.textContent = `Theme: ${own ?? `${system} (system)`}`;
    };
    set();
    dark.addEventListener("change", set);
    button.addEventListener("click", () => {
      stored("vlm-harness-theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
      set();
    });
  }
}

// The report is stored compressed: a thousand cases of nine engines repeat each other's prompts.
async function unpacked(id) {
  const text = atob(byId(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place += 1) bytes[place] = text.charCodeAt(place);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

unpacked("document").then((report) => {
  new Page(report);
  document.documentElement.dataset.ready = "true";
}).catch((error) => {
  byId("main").prepend(el("p", { class: "finding blocks" }, `This browser cannot show the page (${error}). It is made for browsers of 2024 and later.`));
  throw error;
});
