// What the weights alone say. Drawn only if the weights stage has run.
function drawWeights(root, weights) {
  root.hidden = !weights;
  if (!weights) return;
  const cosines = [["cos(in, out)", weights.cos_in_out], ["cos(gate, out)", weights.cos_gate_out], ["cos(gate, in)", weights.cos_gate_in]];
  const norms = [["gate", weights.norm_gate], ["in", weights.norm_in], ["out", weights.norm_out]];
  const vector = (name) => h("span", {}, "w", h("sub", {}, name));
  root.replaceChildren(
    h("h2", {}, "Weights ", h("span.muted", {}, weights.rw_class)),
    h("div.columns", {},
      h("div", {}, h("h3", {}, "Reads and writes the same direction?"), cosines.map(([name, cosine]) => cosineStrip(name, cosine)),
        h("p.muted.note", {}, "Band: 95 % of mismatched pairs of this layer. Ticks: random directions. Dashed: ±0.5, where the class changes.")),
      h("div", {}, h("h3", {}, "Tokens read"), tokenEnds(vector("gate"), weights.reads_gate), tokenEnds(vector("in"), weights.reads_in)),
      h("div", {}, h("h3", {}, "Tokens written"), tokenEnds(vector("out"), weights.writes),
        h("h3", {}, "Norms"), h("table.norms", {}, h("tbody", {}, norms.map(([name, norm]) => h("tr", {},
          h("th", { scope: "row" }, vector(name)), h("td", {}, number(norm.value)), h("td.muted", {}, `longer than ${percent(norm.quantile)} of the layer`))))),
        weights.neighbours.length ? [h("h3", {}, "Nearest by w", h("sub", {}, "out")), h("p", {}, weights.neighbours.map(neighbour))] : null)));
}

function neighbour({ layer, neuron, cosine }) {
  return h("a.chip", { href: `../L${layer}/N${neuron}.html` }, `L${layer} N${neuron} `, h("span.muted", {}, number(cosine, { plus: true })));
}

function cosineStrip(name, { value, band, beta }) {
  const x = (cosine) => 90 + 85 * Math.max(-1, Math.min(1, cosine));
  const label = `${name} ${number(value)}; by chance ${number(band[0])} to ${number(band[1])}`;
  return h("div.cosine", {}, h("span", {}, name), svg("svg", { viewBox: "0 0 180 20", role: "img", "aria-label": label }, svg("title", {}, label),
    svg("line", { class: "base", x1: x(-1), x2: x(1), y1: 10, y2: 10 }),
    svg("rect", { class: "band", x: x(band[0]), width: Math.max(1, x(band[1]) - x(band[0])), y: 4, height: 12 }),
    [-0.5, 0.5].map((at) => svg("line", { class: "limit", x1: x(at), x2: x(at), y1: 2, y2: 18 })),
    beta.map((at) => svg("line", { class: "beta", x1: x(at), x2: x(at), y1: 6, y2: 14 })),
    svg("line", { class: "base", x1: x(0), x2: x(0), y1: 6, y2: 14 }),
    svg("circle", { class: value > 0 ? "pos" : "neg", cx: x(value), cy: 10, r: 5 })), h("strong", {}, number(value, { plus: true })));
}

function tokenEnds(title, { high, low }) {
  const list = (tokens) => tokens.map(({ text, score }) => tokenChip(text, { title: number(score, { plus: true }) }));
  return h("div.ends", {}, h("h4", {}, title), h("p.pos", {}, h("span.sign", {}, "+"), list(high)), h("p.neg", {}, h("span.sign", {}, "−"), list(low)));
}
