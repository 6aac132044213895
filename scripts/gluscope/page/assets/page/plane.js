// The plane of gate and in: lines of equal post, axes, shares, and the extremes where they lie.
const PLANE = { width: 480, height: 480, left: 34, right: 10, top: 10, bottom: 34, cell: 6 };

function planePoints(view, data) {
  if (view.sample.gate.length) return { ...view.sample, sampled: true };
  const all = { gate: [], in: [], post: [], row: [], position: [], sampled: false };
  for (const example of view.examples.values()) {
    for (let i = 0; i < example.gate.length; i++) {
      if (data.kind(example.ids[i]) === 1 || data.isSkipped(example.ids[i])) continue;
      all.gate.push(example.gate[i]); all.in.push(example.in[i]); all.post.push(example.post[i]);
      all.row.push(example.row); all.position.push(i);
    }
  }
  return all;
}

/** The extreme list of every case: of `quantity`, or of gate where act has none of its own. */
function dotsOf(view, quantity) {
  const dots = [];
  for (const name of CASES) {
    const listed = listsOf(name).includes(quantity) ? quantity : quantity === "act" ? "gate" : "post";
    view.cases[name].extreme[listed].forEach((place, rank) => {
      const example = view.examples.get(place.example);
      const [g, u] = [example.gate[place.position], example.in[place.position]];
      dots.push({ name, rank, listed, place, example, gate: g, in: u });
    });
  }
  return dots;
}

function extent(values, extra) {
  let low = 0, high = 0;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  for (const value of extra) { if (value < low) low = value; if (value > high) high = value; }
  if (low === high) [low, high] = [-1, 1];
  // Every quadrant keeps room for its label, also where nothing lies.
  const span = high - low;
  low = Math.min(low - 0.06 * span, -0.3 * span);
  high = Math.max(high + 0.06 * span, 0.3 * span);
  return [low, high];
}

function ticks(low, high, count = 5) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(+(k * step).toPrecision(6));
  return found;
}

function drawPlane(figure, view, data) {
  const points = planePoints(view, data);
  const dots = CASES.flatMap((name) => QUANTITIES.flatMap((q) => view.cases[name].extreme[q] ?? [])).map((p) => {
    const example = view.examples.get(p.example);
    return [example.gate[p.position], example.in[p.position]];
  });
  const gates = extent(points.gate, dots.map((d) => d[0]));
  const ins = extent(points.in, dots.map((d) => d[1]));
  const { width, height, left, right, top, bottom } = PLANE;
  const x = (g) => left + (g - gates[0]) / (gates[1] - gates[0]) * (width - left - right);
  const y = (u) => height - bottom - (u - ins[0]) / (ins[1] - ins[0]) * (height - top - bottom);
  const plane = {
    x, y, gates, ins, points, view,
    gateAt: (px) => gates[0] + (px - left) / (width - left - right) * (gates[1] - gates[0]),
    inAt: (py) => ins[0] + (height - bottom - py) / (height - top - bottom) * (ins[1] - ins[0]),
  };
  plane.cells = cellsOf(plane);
  figure.replaceChildren(svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    density(plane), contours(plane, data), axes(plane), frequencies(plane),
    svg("g", { id: "dots" }), svg("g", { id: "cross" }), svg("text", { id: "readout", x: width - right, y: height - 4, "text-anchor": "end" })));
  drawLegend(plane);
  return plane;
}

/** Lines along which post is the same. */
function contours({ gates, ins, x, y, view }, data) {
  const strongest = Math.max(0, ...CASES.flatMap((name) => view.cases[name].extreme.post.slice(0, 1).map((p) => Math.abs(p.value))));
  const group = svg("g", { class: "contours" });
  if (!strongest) return group;
  const levels = ticks(-strongest * 1.1, strongest * 1.1, 9).filter((level) => level !== 0);
  for (const level of levels) {
    for (const side of [-1, 1]) {
      let path = "", pen = false, last = null;
      const end = side > 0 ? gates[1] : gates[0];
      for (let step = 1; step <= 240; step++) {
        const g = end * step / 240;
        const u = level / data.act(g);
        const inside = Number.isFinite(u) && u > ins[0] && u < ins[1];
        if (inside) { path += `${pen ? "L" : "M"}${x(g).toFixed(1)} ${y(u).toFixed(1)}`; last = [g, u]; }
        pen = inside;
      }
      if (!path) continue;
      group.append(svg("path", { d: path }));
      if (side > 0 && last[0] > 0.97 * end) {
        group.append(svg("text", { x: x(end) - 3, y: y(last[1]) - 3, "text-anchor": "end" }, (level > 0 ? "+" : "") + tick(level)));
      }
    }
  }
  return group;
}

function axes({ gates, ins, x, y }) {
  const { width, height, left, right, top, bottom } = PLANE;
  const group = svg("g", { class: "axes" });
  group.append(svg("line", { x1: x(0), x2: x(0), y1: top, y2: height - bottom }), svg("line", { x1: left, x2: width - right, y1: y(0), y2: y(0) }));
  for (const g of ticks(...gates)) group.append(svg("text", { x: x(g), y: height - bottom + 14, "text-anchor": "middle" }, tick(g)));
  for (const u of ticks(...ins)) group.append(svg("text", { x: left - 5, y: y(u) + 4, "text-anchor": "end" }, tick(u)));
  group.append(
    svg("text", { class: "name", x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, "gate →"),
    svg("text", { class: "name", x: -(top + height - bottom) / 2, y: 13, transform: "rotate(-90)", "text-anchor": "middle" }, "in →"),
  );
  return group;
}

const tick = (value) => String(value).replace("-", "−");

function frequencies({ view }) {
  const { width, height, left, right, top, bottom } = PLANE;
  const group = svg("g", { class: "shares" });
  for (const name of CASES) {
    const [g, u] = [gateSign(name), inSign(name)];
    group.append(svg("text", {
      x: g > 0 ? width - right - 4 : left + 4, y: u > 0 ? top + 14 : height - bottom - 7, "text-anchor": g > 0 ? "end" : "start",
    }, percent(view.cases[name].frequency)));
  }
  return group;
}

/** Dots of one quantity's extremes, and beside the first of each case its token. */
function drawDots(plane, data, quantity, chosen, pick) {
  const group = $("dots");
  group.replaceChildren();
  const all = dotsOf(plane.view, quantity);
  for (const dot of all.toReversed()) {
    const id = `${dot.place.example}:${dot.place.position}`;
    const sign = postSign(dot.name) > 0 ? "pos" : "neg";
    const circle = svg("circle", {
      class: `dot ${sign}${id === chosen ? " chosen" : ""}`, cx: plane.x(dot.gate), cy: plane.y(dot.in), r: id === chosen ? 5.5 : 3.6,
      onclick: (event) => { event.stopPropagation(); pick(dot, id); },
    }, svg("title", {}, `${caseLabel(dot.name)}: ${dot.listed} ${number(dot.place.value, { plus: true })} at “${inline(data.text(dot.example.ids[dot.place.position]))}”`));
    group.append(circle);
  }
  const { width, left, right } = PLANE;
  for (const dot of all.filter((one) => one.rank === 0)) {
    const text = clipped(inline(data.text(dot.example.ids[dot.place.position])).trim(), 18);
    const px = plane.x(dot.gate);
    const wide = 8 + 7.3 * text.length;
    const end = gateSign(dot.name) > 0 ? px + wide > width - right : px - wide > left;
    group.append(svg("text", { class: "dot-label", x: px + (end ? -8 : 8), y: plane.y(dot.in) + 4, "text-anchor": end ? "end" : "start" }, text));
  }
}
