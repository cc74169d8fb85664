// What a reader is looking for: controls, whether a case is that, and what is found as a file.

class Filters {
  // `selects` are [name, label, options] with options [value, text], `ticks` [name, label]; ids begin with `id`.
  constructor({ id, entries, selects, ticks = [], changed }) {
    this.inputs = {};
    this.texts = new Map();
    const own = (name, input) => (this.inputs[name] = input);
    const text = own("text", el("input", { id: `${id}-text`, type: "search", placeholder: "suite.case", autocomplete: "off",
      oninput: () => { clearTimeout(this.waiting); this.waiting = setTimeout(changed, 60); } }));
    const tags = [...new Set(entries.flatMap((entry) => entry.tags))].sort();
    const every = tags.length ? [["tag", "Tag", [["", "all tags"], ...tags.map((tag) => [tag, tag])]], ...selects] : selects;
    const tick = ([name, label]) => el("label", { class: "tick", for: `${id}-${name}` },
      own(name, el("input", { id: `${id}-${name}`, type: "checkbox", onchange: changed })), label);
    this.elements = [
      el("label", { class: "field grow", for: `${id}-text` }, el("span", {}, "Name"), text),
      every.map(([name, label, options]) => el("label", { class: "field", for: `${id}-${name}` }, el("span", {}, label),
        own(name, el("select", { id: `${id}-${name}`, onchange: changed }, options.map(([value, shown]) => el("option", { value }, shown)))))),
      [["deep", "in prompts and answers too"], ...ticks].map(tick)];
  }

  value(name) {
    const input = this.inputs[name];
    return !input ? "" : input.type === "checkbox" ? input.checked : input.value;
  }

  clear() {
    for (const input of Object.values(this.inputs)) {
      if (input.type === "checkbox") input.checked = false;
      else input.value = "";
    }
  }

  // By name and tag alone; the prompt is looked through only where that is asked for, as all of a suite may offer 'blue'.
  fits(entry) {
    const words = this.value("text").toLowerCase().split(/\s+/).filter(Boolean);
    const tag = this.value("tag");
    if (tag && !entry.tags.includes(tag)) return false;
    const text = this.value("deep") ? this.deep(entry) : entry.case.toLowerCase();
    return words.every((word) => text.includes(word));
  }

  deep(entry) {
    if (!this.texts.has(entry)) {
      this.texts.set(entry, [entry.case, entry.prompt, entry.system, entry.reason, entry.baseline?.text, entry.candidate?.text].filter(Boolean).join("\n").toLowerCase());
    }
    return this.texts.get(entry);
  }

  get hint() {
    return this.value("text") && !this.value("deep") ? " No name has it; prompts were not looked through." : "";
  }
}

// Rows of texts and numbers as CSV. A text that a spreadsheet would take for a formula gets an apostrophe.
function csv(rows) {
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function downloads(name, rows) {
  return el("button", { type: "button", class: "quiet", onclick: () => {
    const address = URL.createObjectURL(new Blob([csv(rows())], { type: "text/csv" }));
    el("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  } }, "Save as CSV");
}

// A part of a list, and buttons that lead to the others.
function pager(box, { start, size, total, go }) {
  const end = Math.min(total, start + size);
  const step = (name, to, off) => el("button", { type: "button", disabled: off, onclick: () => go(to) }, name);
  put(box, total > size && [step("Previous", Math.max(0, start - size), start === 0), el("span", {}, `${start + 1}–${end} of ${total}`), step("Next", end, end >= total)]);
}
