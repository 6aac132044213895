// What the weights alone say. Drawn only if the weights stage has run.
function drawWeights(root, weights) {
  root.hidden = !weights;
  if (!weights) return;
  const { gate, in: in_, out } = weights.vectors;
  const vector = (name) => h("span", {}, "w", h("sub", {}, name));
  const pair = (key) => h("span", {}, "cos(", key.split(",").flatMap((name, i) => [i ? ", " : "", vector(name)]), ")");
  const length = ([name, { norm, quantile }]) => h("tr", {}, h("th", { scope: "row" }, vector(name)), h("td", {}, number(norm)),
    h("td.muted", {}, `longer than ${percent(quantile)} of the layer's`));
  root.replaceChildren(
    h("h2", {}, "Weights ", h("span.muted", {}, "· ", termOf("class", weights.rw_class))),
    h("div.columns", {},
      h("div", {}, h("h3", {}, "Does it write what it reads?"),
        Object.entries(weights.cosines).map(([key, cosine]) => cosineStrip(key, pair(key), cosine)),
        h("p.muted.note", {}, "Band: 95 % of mismatched pairs of this layer; ticks: of random directions. Dashed: ±0.5, where the class changes."),
        weights.router ? [h("h3", {}, "Does its expert's door look for the same?"),
          h("p.router", {}, spaced(Object.entries(weights.router).map(([name, cosine]) => h("span", {}, "cos(", vector(name), ", router) ", h("strong", {}, number(cosine, { plus: true }))))))] : null,
        h("h3", {}, "Norms"), h("table.norms", {}, h("tbody", {}, Object.entries(weights.vectors).map(length)))),
      h("div", {}, h("h3", {}, "Tokens it reads"), tokenEnds(vector("gate"), gate), tokenEnds(vector("in"), in_)),
      h("div", {}, h("h3", {}, "Tokens it writes"), tokenEnds(vector("out"), out),
        weights.nearest.length ? [h("h3", {}, "Nearest by ", vector("out")), h("p.near", {}, spaced(weights.nearest.map(neighbour)))] : null)));
}

function neighbour([layer, neuron, cosine, expert]) {
  const index = $("all")?.getAttribute("href"); // knows whether that neuron has a page
  return h(index ? "a.chip" : "span.chip", { href: index && `${index}#go=L${layer}/${expert ? `${expert}/` : ""}N${neuron}` },
    `L${layer} ${expert ? `${expert} ` : ""}N${neuron} `, h("span.muted", {}, number(cosine, { plus: true })));
}

function cosineStrip(key, title, { value, band, random }) {
  const x = (cosine) => 90 + 85 * Math.max(-1, Math.min(1, cosine));
  const label = `cosine of ${key} ${number(value)}; by chance ${number(band[0])} to ${number(band[1])}`;
  return h("div.cosine", {}, title, svg("svg", { viewBox: "0 0 180 20", role: "img", "aria-label": label }, svg("title", {}, label),
    svg("line", { class: "base", x1: x(-1), x2: x(1), y1: 10, y2: 10 }),
    svg("rect", { class: "band", x: x(band[0]), width: Math.max(1, x(band[1]) - x(band[0])), y: 4, height: 12 }),
    [-0.5, 0.5].map((at) => svg("line", { class: "limit", x1: x(at), x2: x(at), y1: 2, y2: 18 })),
    random.map((at) => svg("line", { class: "beta", x1: x(at), x2: x(at), y1: 6, y2: 14 })),
    svg("line", { class: "base", x1: x(0), x2: x(0), y1: 6, y2: 14 }),
    svg("circle", { class: value > 0 ? "pos" : "neg", cx: x(value), cy: 10, r: 5 })), h("strong", {}, number(value, { plus: true })));
}

function tokenEnds(title, { top, bottom }) {
  const list = (tokens) => spaced(tokens.map(([text, score]) => tokenChip(text, { title: number(score, { plus: true }) })));
  return h("div.ends", {}, h("h4", {}, title), h("p.pos", {}, h("span.sign", {}, "+"), list(top)), h("p.neg", {}, h("span.sign", {}, "−"), list(bottom)));
}
