// The examples as rows: the text around the extreme, its place, the whole text on demand.
const BEFORE = 34, AFTER = 10;

/** The colour scale of a list: the largest |value| of the quantity at its framed tokens, of the listed quantity the
 * scan's own, which headline and cards show. Others may be beyond it: a
 * weak case would be invisible on the scale of a strong one in the same texts. Typical tokens have the scale of their
 * case's extremes of post.
 */
function scaleOf(entries, quantity, listed) {
  return Math.max(0, ...entries.map(({ example, position, value }) => Math.abs(quantity === listed ? value : example[quantity][position])));
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
  const entries = entriesOf(view);
  const listed = state.list === "typical" ? "post" : state.list;
  const scale = scaleOf(state.list === "typical" ? extremeEntries(view, "post") : entries, state.color, listed);
  $("scale-low").textContent = `≤ ${number(-scale)}`;
  $("scale-high").textContent = `≥ ${number(scale, { plus: true })}`;
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
  if (entries.more) rows.push(h("li.same", {}, h("button.small", { id: "show-all", onclick: () => setState({ all: "1" }) }, `show ${grouped(entries.more)}`)));
  root.classList.toggle("long", rows.length > 60);
  root.replaceChildren(...rows);
}

function emptyReason(view) {
  if (state.list === "near") return "No token lies near this place.";
  if (state.list === "region") return "No sampled token and no extreme lies in this region.";
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
    h("a.muted", { href: linkTo({ text: id }), title: "Link to this text" }, `${data.provenance.source === "published" ? "text" : "row"} ${example.row} · token ${position + (example.offset ?? 0)}`),
    example.weight ? h("div.muted.router", { title: "What the router multiplies the expert's output with here" }, `router ${number(example.weight[position])}`) : "");
  const body = h("div.body");
  const around = state.wide ? 3 : 1;
  const draw = (full) => body.replaceChildren(heatText(example, {
    from: full ? 0 : Math.max(0, position - BEFORE * around), to: full ? example.ids.length : Math.min(example.ids.length, position + AFTER * around + 1),
    mark: position, quantity: state.color, scale, breaks: full || Boolean(state.lines), only: state.only && state.case, data, label: `example ${rank + 1}, value ${number(value)}; arrow keys move through its tokens`,
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
    const size = scale > 0 ? Math.min(1, Math.abs(value) / scale) * (high / 2 - 1) : 0;
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
