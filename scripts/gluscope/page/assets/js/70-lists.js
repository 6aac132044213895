// The examples: a list of one case and quantity, typical tokens, or those at a place in the plane.
const BEFORE = 34, AFTER = 10;

/** What a list shows: entries {example, position, value?, note?}, by rank. */
function entriesOf(view, data) {
  if (state.list === "near") return nearEntries(view);
  if (state.list === "typical") return typicalEntries(view);
  const list = listedQuantity();
  return view.cases[state.case].extreme[list].map((place) => ({
    example: view.examples.get(place.example), position: place.position, value: place.value,
  }));
}

/** The chosen list; in gate+ cases act's is the gate's. */
function listedQuantity() {
  if (!QUANTITIES.includes(state.list)) return "post";
  return listsOf(state.case).includes(state.list) ? state.list : "gate";
}

/** A sampled token as an entry: in full if its text is here, else the few tokens around it. */
function sampleEntry(view, i, note) {
  const { sample } = view;
  const here = view.examples.get(sample.row[i]);
  if (here) return { example: here, position: sample.position[i], value: here[state.color][sample.position[i]], note };
  if (sample.start.length < 2) return null;
  const ids = sample.ids.subarray(sample.start[i], sample.start[i + 1]);
  const at = sample.at[i];
  const example = { row: sample.row[i], ids, offset: sample.position[i] - at, short: true };
  for (const quantity of QUANTITIES) {
    example[quantity] = new Float32Array(ids.length).fill(NaN);
    example[quantity][at] = sample[quantity][i];
  }
  return { example, position: at, value: sample[state.color][i], note };
}

/** Four tokens from each quarter of the case's sampled tokens, by |post|. */
function typicalEntries(view) {
  const { sample } = view;
  const inside = [];
  for (let i = 0; i < sample.gate.length; i++) if (caseOf(sample.gate[i], sample.in[i]) === state.case) inside.push(i);
  inside.sort((a, b) => Math.abs(sample.post[b]) - Math.abs(sample.post[a]) || a - b);
  const entries = [];
  const bands = ["strongest quarter", "second quarter", "third quarter", "weakest quarter"];
  bands.forEach((note, band) => {
    const from = Math.round(band * inside.length / 4), to = Math.round((band + 1) * inside.length / 4);
    const step = Math.max(1, (to - from) / 4);
    for (let k = from + step / 2; k < to; k += step) entries.push(sampleEntry(view, inside[Math.floor(k)], note));
  });
  return entries.filter(Boolean);
}

/** The tokens closest to the chosen place, extremes and sampled ones; distance in shares of the plane. */
function nearEntries(view) {
  const [gate, in_] = (state.near ?? "0,0").split(",").map(Number);
  const { gates, ins } = view.plane;
  const far = (g, u) => Math.hypot((g - gate) / (gates[1] - gates[0]), (u - in_) / (ins[1] - ins[0]));
  const found = new Map();
  const points = view.plane.points;
  for (let i = 0; i < points.gate.length; i++) {
    const distance = far(points.gate[i], points.in[i]);
    if (distance < 0.2) found.set(`${points.row[i]}:${points.position[i]}`, { distance, i });
  }
  for (const dot of CASES.flatMap((name) => Object.values(view.cases[name].extreme).flat())) {
    const example = view.examples.get(dot.example);
    const distance = far(example.gate[dot.position], example.in[dot.position]);
    if (distance < 0.2) found.set(`${dot.example}:${dot.position}`, { distance, example, position: dot.position });
  }
  return [...found.values()].sort((a, b) => a.distance - b.distance).slice(0, 16).map(({ example, position, i }) => {
    if (example) return { example, position, value: example[state.color][position] };
    if (points.sampled) return sampleEntry(view, i);
    const text = view.examples.get(points.row[i]);
    return { example: text, position: points.position[i], value: text[state.color][points.position[i]] };
  }).filter(Boolean);
}

/** The colour scale of a list: the largest |value| of the quantity in its texts. */
function scaleOf(entries, quantity) {
  let scale = 0;
  for (const { example } of entries) {
    for (const value of example[quantity]) if (Math.abs(value) > scale) scale = Math.abs(value);
  }
  return scale;
}

/** Entries with the same tokens around the extreme, together: [[entry, ...same], ...]. */
function folded(entries, data) {
  const groups = new Map();
  for (const entry of entries) {
    const around = entry.example.ids.subarray(Math.max(0, entry.position - 16), entry.position + 3);
    const key = Array.from(around, data.text).join("\u0001");
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(entry);
  }
  return [...groups.values()];
}

function drawList(root, view, data) {
  const entries = entriesOf(view, data);
  const scale = scaleOf(entries, state.color);
  $("scale-low").textContent = number(-scale);
  $("scale-high").textContent = number(scale, { plus: true });
  if (!entries.length) return root.replaceChildren(h("li.empty.muted", {}, emptyReason(view)));
  let note = null;
  const rows = [];
  for (const [entry, ...same] of folded(entries, data)) {
    if (entry.note && entry.note !== note) { note = entry.note; rows.push(h("li.band", {}, note)); }
    rows.push(exampleRow(entry, entries.indexOf(entry), scale, data));
    if (same.length) {
      rows.push(h("li.same", {}, h("details", {}, h("summary", {}, `${same.length} more with the same text around it`),
        h("ol", {}, same.map((one) => exampleRow(one, entries.indexOf(one), scale, data))))));
    }
  }
  root.replaceChildren(...rows);
}

function emptyReason(view) {
  if (state.list === "near") return "No token lies near this place.";
  if (state.list === "typical" && !view.sample.gate.length) return "No tokens were sampled for this neuron.";
  return "No token is in this case.";
}

function exampleRow(entry, rank, scale, data) {
  const { example, position, value } = entry;
  const id = `${example.row}:${position + (example.offset ?? 0)}`;
  const chosen = state.text === id;
  const row = h(`li.example${chosen ? ".chosen" : ""}`, { "data-text": id });
  const place = h("div.place", {},
    h("strong.value", {}, number(value, { plus: true })),
    h("span.muted", {}, `row ${example.row} · token ${position + (example.offset ?? 0)}`));
  const body = h("div.body");
  const draw = (full) => body.replaceChildren(heatText(example, {
    from: full ? 0 : Math.max(0, position - BEFORE), to: full ? example.ids.length : Math.min(example.ids.length, position + AFTER + 1),
    mark: position, quantity: state.color, scale, breaks: full, data, label: `example ${rank + 1}, value ${number(value)}; arrow keys move through its tokens`,
  }), full ? sourceOf(example) : "");
  const open = chosen && state.full === "1";
  draw(open);
  const length = example.ids.length;
  const toggle = example.short ? null : h("button.small.more", {
    "aria-expanded": String(open),
    onclick: () => {
      const full = toggle.getAttribute("aria-expanded") !== "true";
      toggle.setAttribute("aria-expanded", String(full));
      toggle.textContent = full ? "less" : `all ${length} tokens`;
      draw(full);
      setState({ text: full ? id : null, full: full ? "1" : null });
    },
  }, open ? "less" : `all ${length} tokens`);
  row.append(place, body, h("div.side", {}, example.short ? null : sparkline(example, position, scale), toggle));
  return row;
}

function sourceOf(example) {
  const entries = Object.entries(example.source ?? {}).filter(([, value]) => value !== null && value !== "");
  if (!entries.length) return "";
  const shown = (value) => unhide(typeof value === "string" ? value : JSON.stringify(value)).slice(0, 300);
  return h("dl.source", {}, entries.map(([key, value]) => h("div", {}, h("dt", {}, unhide(key)), h("dd", {}, shown(value)))));
}

/** The whole text at a glance: the strongest value at each step, the extreme's place marked. */
function sparkline(example, position, scale) {
  const [wide, high] = [180, 28];
  const values = example[state.color];
  const bins = Math.min(90, values.length);
  const chart = svg("svg", { viewBox: `0 0 ${wide} ${high}`, class: "spark", "aria-hidden": "true" });
  const ends = new Float32Array(bins);
  for (let i = 0; i < values.length; i++) {
    const bin = Math.floor(i * bins / values.length);
    if (Math.abs(values[i]) > Math.abs(ends[bin])) ends[bin] = values[i];
  }
  const paths = { pos: "", neg: "" };
  ends.forEach((value, bin) => {
    const size = scale > 0 ? Math.abs(value) / scale * (high / 2 - 1) : 0;
    if (size < 0.3) return;
    const left = (bin * wide / bins).toFixed(1);
    const middle = high / 2;
    paths[value > 0 ? "pos" : "neg"] += `M${left} ${middle}h${Math.max(1, wide / bins - 0.6).toFixed(1)}v${(value > 0 ? -size : size).toFixed(1)}h-${Math.max(1, wide / bins - 0.6).toFixed(1)}z`;
  });
  const at = (position + 0.5) / values.length * wide;
  chart.append(svg("line", { x1: 0, x2: wide, y1: high / 2, y2: high / 2 }), svg("path", { class: "pos", d: paths.pos }), svg("path", { class: "neg", d: paths.neg }),
    svg("path", { class: "at", d: `M${at - 3} ${high}h6l-3 -4z` }));
  return chart;
}
