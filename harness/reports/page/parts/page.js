// Puts the page together: which comparison is shown, the theme, and addresses that lead to a case.

class Page {
  constructor() {
    const read = (id) => JSON.parse(byId(id).textContent);
    this.report = read("document");
    this.pictures = read("pictures");
    this.explained = byId("explanations") ? read("explanations") : [];
    this.theme();
    // A page of several opens with the one that decides how all end.
    const worst = ["FAILED", "ERROR", "INCONCLUSIVE", "PASSED"];
    const ranks = this.report.comparisons.map((one) => worst.indexOf(one.status));
    this.first = ranks.indexOf(Math.min(...ranks));
    drawAll(byId("all"), this.report, this);
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
    drawHistory(byId("history"), this.comparison);
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
    box.replaceChildren(...this.report.comparisons.map((one, place) =>
      el("button", { type: "button", class: "tab", "aria-current": place === this.place ? "true" : null, onclick: () => {
        this.select(place);
        this.linkTo(null);
        byId("comparisons").children[place].focus();
      } }, icon(one.verdict), one.name, el("span", { class: "unseen" }, `: ${one.words}`))));
  }

  theme() {
    const button = byId("theme");
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const kept = (value) => {
      try {
        if (value) localStorage.setItem("vlm-harness-theme", value);
        return localStorage.getItem("vlm-harness-theme");
      } catch {
        return null; // a browser may keep nothing for files
      }
    };
    const set = (theme) => {
      document.documentElement.dataset.theme = theme;
      button.setAttribute("aria-pressed", String(theme === "dark"));
    };
    set(kept() ?? (dark.matches ? "dark" : "light"));
    dark.addEventListener("change", () => { if (!kept()) set(dark.matches ? "dark" : "light"); });
    button.addEventListener("click", () => {
      const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      kept(theme);
      set(theme);
    });
  }
}

new Page();
document.documentElement.dataset.ready = "true";
