// Where explained cases begin to differ. A drawing is copied by known elements and attributes, so nothing in it can run.

const DRAWN = ["svg", "title", "text", "line", "polygon", "polyline", "circle"];
const DRAWN_WITH = ["class", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "points", "transform", "text-anchor", "viewBox", "width", "height", "role"];

function copied(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  if (!DRAWN.includes(node.localName)) return null;
  const own = [...node.attributes].filter(({ name }) => DRAWN_WITH.includes(name)).map(({ name, value }) => [name, value]);
  return svg(node.localName, Object.fromEntries(own), [...node.childNodes].map(copied));
}

function drawExplained(comparison, page) {
  byId("explained")?.remove();
  const sides = [comparison.baseline, comparison.candidate];
  const found = page.explained.filter((one) => sides.every((side, place) => side.label === one.sides[place] && side.made === ""));
  if (!found.length) return;
  const parser = new DOMParser();
  byId("changed").after(el("section", { id: "explained", "aria-labelledby": "explained-title" },
    heading("explained", "Where it begins"), found.map((one) => {
      const [first, ...more] = one.sentences;
      const entry = comparison.cases.find((each) => each.case === one.case);
      const picture = one.picture ? copied(parser.parseFromString(one.picture, "image/svg+xml").documentElement) : null;
      return el("article", { class: "begins" }, el("h3", {}, entry ? caseLink(entry, page) : one.case),
        el("p", { class: "reason" }, el("strong", {}, first)),
        more.length > 0 && el("ul", { class: "reason" }, more.map((text) => el("li", {}, text))),
        picture && el("div", { class: "scroll stages", tabindex: "0", role: "region", "aria-label": `Distance against stage, ${one.case}` }, picture),
        el("details", {}, el("summary", {}, "As a terminal shows it, with the figures of the stages"), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Figures of the stages, ${one.case}` }, el("pre", {}, one.text))));
    })));
}
