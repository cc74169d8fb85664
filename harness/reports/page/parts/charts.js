// Charts as inline SVG, drawn at the width they have, so that their text is as large as the page's.

const ROOM = { left: 52, right: 14, top: 12, bottom: 44 };

function linear(low, high) {
  const pad = (high - low || 1) * 0.04;
  const [from, to] = [low - pad, high + pad];
  const rough = (to - from) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((each) => each >= rough);
  const ticks = [];
  for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) ticks.push(Number(tick.toPrecision(12)));
  return { from, to, ticks, at: (value) => (value - from) / (to - from) };
}

function logarithmic(low, high) {
  const from = Math.floor(Math.log10(low));
  const to = Math.max(from + 1, Math.ceil(Math.log10(high)));
  const step = Math.ceil((to - from) / 6);
  const ticks = [];
  for (let power = from; power <= to; power += step) ticks.push(10 ** power);
  const least = 10 ** from;
  return { from: least, to: 10 ** to, ticks, at: (value) => (Math.log10(Math.max(value, least)) - from) / (to - from) };
}

// `points` are {x, y, entry, verdict, flipped}; `under` draws what lies beneath them, given the two scales.
function chart({ box, label, xTitle, yTitle, xScale, yScale, points, under, tell, pick }) {
  const draw = () => {
    const width = Math.max(260, Math.floor(box.clientWidth));
    const height = Math.round(Math.min(400, Math.max(250, width * 0.78)));
    const [w, h] = [width - ROOM.left - ROOM.right, height - ROOM.top - ROOM.bottom];
    const x = (value) => ROOM.left + xScale.at(value) * w;
    const y = (value) => ROOM.top + (1 - yScale.at(value)) * h;
    const clip = `clip-${box.id}`;
    const picture = svg("svg", { class: "chart", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
    picture.append(svg("clipPath", { id: clip }, svg("rect", { x: ROOM.left, y: ROOM.top, width: w, height: h })));
    for (const tick of xScale.ticks) {
      const place = x(tick);
      if (place < ROOM.left - 1 || place > width - ROOM.right + 1) continue;
      picture.append(svg("line", { class: "grid", x1: place, x2: place, y1: ROOM.top, y2: ROOM.top + h }));
      picture.append(svg("text", { x: place, y: ROOM.top + h + 16, "text-anchor": "middle" }, figure(tick)));
    }
    for (const tick of yScale.ticks) {
      const place = y(tick);
      if (place < ROOM.top - 1 || place > ROOM.top + h + 1) continue;
      picture.append(svg("line", { class: "grid", x1: ROOM.left, x2: ROOM.left + w, y1: place, y2: place }));
      picture.append(svg("text", { x: ROOM.left - 7, y: place + 4, "text-anchor": "end" }, figure(tick)));
    }
    picture.append(svg("text", { class: "title", x: ROOM.left + w / 2, y: height - 8, "text-anchor": "middle" }, xTitle));
    picture.append(svg("text", { class: "title", x: -(ROOM.top + h / 2), y: 12, transform: "rotate(-90)", "text-anchor": "middle" }, yTitle));
    const inside = svg("g", { "clip-path": `url(#${clip})` });
    under(inside, x, y);
    const small = points.length > 400 ? 2.4 : 3.4;
    const placed = points.map((point) => ({ ...point, px: x(point.x), py: y(point.y) }));
    for (const verdict of [...VERDICTS].reverse()) {
      const own = placed.filter((point) => point.verdict === verdict);
      const r = verdict === "NOISE" || verdict === "SAME" ? small : 4.6;
      if (own.length) {
        inside.append(svg("path", { class: `mark ${verdict}`, d: own.map((point) => shape(verdict, point.px, point.py, r)).join("") }));
      }
    }
    const flipped = placed.filter((point) => point.flipped);
    if (flipped.length) {
      inside.append(svg("path", { class: "ring", d: flipped.map((point) => shape("SAME", point.px, point.py, 8)).join("") }));
    }
    const near = svg("circle", { class: "near", r: 10, visibility: "hidden" });
    inside.append(near);
    picture.append(inside);
    const words = el("p", { class: "tip", hidden: true });
    const nearest = (event) => {
      const frame = picture.getBoundingClientRect();
      const [mx, my] = [event.clientX - frame.left, event.clientY - frame.top];
      let best = null;
      let least = 30 * 30;
      for (const point of placed) {
        const distance = (point.px - mx) ** 2 + (point.py - my) ** 2;
        if (distance < least) [best, least] = [point, distance];
      }
      return best;
    };
    const point = (event) => {
      const found = nearest(event);
      near.setAttribute("visibility", found ? "visible" : "hidden");
      words.hidden = !found;
      picture.classList.toggle("can-pick", Boolean(found));
      if (!found) return;
      near.setAttribute("cx", found.px);
      near.setAttribute("cy", found.py);
      words.textContent = tell(found);
      words.style.top = `${Math.max(0, found.py + 14)}px`;
      words.style.left = `${Math.min(Math.max(0, found.px - 90), Math.max(0, width - 230))}px`;
    };
    picture.addEventListener("pointermove", point);
    picture.addEventListener("pointerleave", () => {
      near.setAttribute("visibility", "hidden");
      words.hidden = true;
    });
    picture.addEventListener("click", (event) => {
      const found = nearest(event);
      if (found) pick(found.entry);
    });
    box.replaceChildren(picture, words);
  };
  draw();
  let drawnAt = box.clientWidth;
  const observer = new ResizeObserver(() => {
    if (!box.isConnected) observer.disconnect();
    else if (Math.abs(box.clientWidth - drawnAt) > 1) {
      drawnAt = box.clientWidth;
      draw();
    }
  });
  observer.observe(box);
}

const legend = (verdicts, more) =>
  el("p", { class: "legend" },
    verdicts.map((verdict) => el("span", {}, icon(verdict, 13), verdict.toLowerCase())),
    more.map(([kind, text]) => el("span", {}, el("span", { class: `key ${kind}`, "aria-hidden": "true" }), text)));

// A small line of what earlier runs gave, with the present run as its last point.
function sparkline(values, label) {
  const [width, height, pad] = [220, 44, 5];
  const known = values.map((value, place) => [place, value]).filter(([, value]) => isNumber(value));
  const x = (place) => pad + (place / Math.max(1, values.length - 1)) * (width - 2 * pad);
  const y = (value) => height - pad - value * (height - 2 * pad);
  return svg("svg", { class: "spark", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    svg("line", { class: "grid", x1: 0, x2: width, y1: y(0), y2: y(0) }),
    svg("line", { class: "grid", x1: 0, x2: width, y1: y(1), y2: y(1) }),
    svg("polyline", { class: "line", points: known.map(([place, value]) => `${x(place).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }),
    known.map(([place, value]) => svg("circle", { class: place === values.length - 1 ? "dot last" : "dot", cx: x(place), cy: y(value), r: place === values.length - 1 ? 3.5 : 2.2 })));
}
