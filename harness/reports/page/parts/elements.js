// Making elements, and numbers as text. Texts enter as text nodes only, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const UNKNOWN = "–";
const VERDICTS = ["REGRESSION", "ERROR", "DRIFT", "INCONCLUSIVE", "NOISE", "SAME"]; // the worst first

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child);
  }
  return element;
}

const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const put = (element, ...children) => {
  element.replaceChildren();
  return fill(element, {}, children);
};
// A choice that the browser remembers; it may keep nothing for files, so what was chosen now counts as well.
const chosen = new Map();
function stored(name, value) {
  if (value) chosen.set(name, value);
  try {
    if (value) localStorage.setItem(name, value);
    return localStorage.getItem(name);
  } catch {
    return chosen.get(name) ?? null;
  }
}
const byId = (id) => document.getElementById(id);
const isNumber = (value) => typeof value === "number";

function figure(value, digits = 3) {
  if (value === "inf" || value === "-inf") return value === "inf" ? "∞" : "−∞";
  if (value === "nan") return "not a number";
  if (!isNumber(value)) return UNKNOWN;
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size < 1e-3 || size >= 1e5 ? value.toExponential(1) : String(Number(value.toPrecision(digits)));
  return text.replaceAll("-", "−");
}

const signed = (value) => (isNumber(value) && value > 0 ? `+${figure(value)}` : figure(value));

function probability(value) {
  if (!isNumber(value)) return UNKNOWN;
  if (value !== 0 && value < 5e-4) return figure(value);
  return value.toFixed(3);
}

const percent = (share) => `${(100 * share).toFixed(share === 1 || share === 0 ? 0 : 1)}%`;
const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
const median = (values) => {
  const known = values.filter(isNumber).sort((a, b) => a - b);
  return known.length ? known[Math.floor((known.length - 1) / 2)] : null;
};

// One shape for each verdict, in badges and charts alike, so that no colour is needed to tell them apart.
function shape(verdict, x, y, r) {
  const point = (dx, dy) => `${(x + dx * r).toFixed(1)} ${(y + dy * r).toFixed(1)}`;
  switch (verdict) {
    case "REGRESSION":
      return `M${point(-1.15, -0.85)}L${point(1.15, -0.85)}L${point(0, 1.2)}Z`;
    case "DRIFT":
      return `M${point(0, -1.2)}L${point(1.15, 0.85)}L${point(-1.15, 0.85)}Z`;
    case "INCONCLUSIVE":
      return `M${point(0, -1.25)}L${point(1.25, 0)}L${point(0, 1.25)}L${point(-1.25, 0)}Z`;
    case "ERROR":
      return `M${point(-1, -1)}L${point(1, 1)}M${point(1, -1)}L${point(-1, 1)}`;
    default:
      return `M${point(-1, 0)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
  }
}

const icon = (verdict, size = 14) =>
  svg("svg", { class: `icon mark ${verdict}`, width: size, height: size, viewBox: "-8 -8 16 16", "aria-hidden": "true" },
    svg("path", { d: shape(verdict, 0, 0, 5.2) }));

const quiet = (verdict) => verdict === "SAME" || verdict === "NOISE";
// What a reader must see, also on paper.
const matters = (entry) => !quiet(entry.verdict) || entry.flip !== null || entry.candidate?.right === false;

const badge = (verdict, words = verdict) => el("span", { class: `badge ${shade(verdict, words)}` }, icon(verdict), words);

// What was found and is shown to be within the margin has a colour of its own.
const shade = (verdict, words) => (words.endsWith(" within the margin") ? `${verdict} within` : verdict);

const heading = (id, text, ...more) => el("div", { class: "heading" }, el("h2", { id: `${id}-title` }, text), more);

function table(caption, head, rows, { hidden = false, kind = "" } = {}) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", { class: kind },
      el("caption", { class: hidden ? "unseen" : "" }, caption),
      el("thead", {}, el("tr", {}, head.map((title) => el("th", { scope: "col", class: title.startsWith("#") ? "number" : "" },
        title.replace(/^#/, ""))))),
      el("tbody", {}, rows)));
}

function some(items, most, draw, what) {
  // The first few, and a button for the rest.
  const box = el("div");
  const show = (shown) => {
    box.replaceChildren(draw(items.slice(0, shown)));
    if (items.length > shown) {
      box.append(el("button", { type: "button", class: "quiet more", onclick: () => {
        show(items.length);
        box.querySelector(".scroll")?.focus();
      } }, `Show all ${count(items.length, what)}`));
    }
  };
  show(most);
  return box;
}

function thumbnail(key, pictures, documentImages, kind) {
  if (key === null) return el("span", { class: `picture none ${kind}` }, "no image");
  const picture = pictures[key];
  if (!picture || !picture.address) {
    return el("span", { class: `picture none ${kind}` }, picture ? picture.problem : "image missing");
  }
  const file = documentImages[key] ? documentImages[key].file : "";
  const image = el("img", { class: `picture ${kind}`, src: picture.address, alt: kind === "large" ? `The image ${file}` : "",
    loading: "lazy", decoding: "async" });
  if (kind !== "large") return image;
  return el("button", { type: "button", class: "zooms", "aria-label": `See ${file} larger`, onclick: () => enlarge(picture, file) }, image);
}

// The picture as large as this page has it, until Escape or a click.
function enlarge(picture, file) {
  const dialog = el("dialog", { class: "enlarged", "aria-label": file, onclick: () => dialog.close(), onclose: () => dialog.remove() },
    el("img", { src: picture.full || picture.address, alt: `The image ${file}` }),
    el("p", { class: "small" }, file, picture.full === "" && ". This page has room for the small picture only."), el("button", { type: "button" }, "Close"));
  document.body.append(dialog);
  dialog.showModal();
}

const expectedShare = (entry, answer) => {
  if (!answer || !answer.reached) return null;
  const place = entry.letters.indexOf(entry.expect);
  return { least: answer.least[place], most: answer.most[place] };
};

const shareText = (share) => {
  if (!share) return UNKNOWN;
  if (share.least === share.most) return probability(share.least);
  return share.least ? `${probability(share.least)}–${probability(share.most)}` : `≤ ${probability(share.most)}`;
};
