// The four cases side by side, where they lie in the plane.
function drawCards(root, view, data, choose) {
  root.replaceChildren(...IN_THE_PLANE.map((name) => card(name, view, data, choose)));
}

function card(name, view, data, choose) {
  const stats = view.cases[name];
  const sign = postSign(name) > 0 ? "pos" : "neg";
  const bar = h("div.bar", { "aria-hidden": "true" }, stats.frequency ? h("span") : null);
  if (stats.frequency) bar.firstChild.style.width = `${100 * Math.min(1, stats.frequency)}%`;
  const count = stats.count === null ? "" : `${grouped(stats.count)} token${stats.count === 1 ? "" : "s"}`;
  const empty = stats.count === 0 || !stats.extreme.post.length;
  return h(`article.card.${sign}${empty ? ".empty-case" : ""}`, { "data-case": name, "aria-label": `case ${caseLabel(name)}` },
    h("header", {},
      h("h2", {}, h("button.link", { "data-choose": name, onclick: () => choose({ case: name, list: "post" }, true), title: "Show the examples of this case" }, caseLabel(name))),
      h("span.muted.count", {}, count),
      h("strong.share", { title: data.reached ? "of all tokens" : null }, percent(stats.frequency))),
    data.reached && stats.count !== null ? h("p.muted.of-expert", {}, `${percent(stats.count / data.reached)} of the tokens that reach ${data.expert}`) : null,
    bar,
    described(name, view),
    empty ? h("p.muted", {}, "No token of this data set is in this case: its means are undefined.") : [
      statsTable(name, stats, view, data),
      topExamples(name, stats, view, data)],
    effect(name, view.weights));
}

function statsTable(name, stats, view, data) {
  const columns = ["post", "gate", "in", "act"];
  const decimals = data.provenance.decimals;
  return h("table.stats", {},
    h("thead", {}, h("tr", {}, h("td"), columns.map((q) => h("th", { scope: "col" }, termOf(q))))),
    h("tbody", {},
      h("tr", {}, h("th", { scope: "row" }, "mean"), columns.map((q) => h("td", { "data-stat": `mean-${q}` }, number(stats.mean[q], { decimals })))),
      h("tr", {}, h("th", { scope: "row" }, "extreme"), columns.map((q) => h("td", { "data-stat": `extreme-${q}` }, number(firstExtreme(stats, q, data.act))))),
      h("tr.shapes", {}, h("th", { scope: "row" }, h("span.hidden", {}, "distribution")), columns.map((q) => h("td", {}, histogram(name, q, view, data))))));
}

/** The case's distribution from 0 (at the side of the axis) outwards, drawn to the case's own extreme. */
function histogram(name, quantity, view, data) {
  const points = view.sample.gate.length ? view.sample : allTokens(view);
  const bins = new Uint32Array(24);
  const sign = quantity === "in" ? inSign(name) : quantity === "post" ? postSign(name) : gateSign(name);
  const stats = view.cases[name];
  const end = Math.abs(firstExtreme(stats, quantity, data.act) ?? 1) || 1;
  for (let i = 0; i < points.gate.length; i++) {
    if (caseOf(points.gate[i], points.in[i]) !== name) continue;
    bins[Math.min(23, Math.floor(Math.abs(points[quantity][i]) / end * 24))]++;
  }
  const most = Math.max(1, ...bins);
  const label = `${quantity} from 0 to ${number(sign * end)}, ${view.sample.gate.length ? "sampled tokens" : "tokens of the example texts"}; height is the square root of the count`;
  const chart = svg("svg", { viewBox: "0 0 72 18", class: "histogram", role: "img", "aria-label": label }, svg("title", {}, label));
  bins.forEach((count, i) => {
    const height = count ? Math.max(1, 17 * Math.sqrt(count / most)) : 0;
    const place = sign > 0 ? i : 23 - i;
    if (height) chart.append(svg("rect", { x: place * 3, y: 18 - height, width: 2.4, height }));
  });
  chart.append(svg("line", { x1: sign > 0 ? 0 : 72, x2: sign > 0 ? 0 : 72, y1: 0, y2: 18 }));
  return chart;
}

const pooled = new WeakMap();
function allTokens(view) {
  if (!pooled.has(view)) {
    const join = (quantity) => [...view.examples.values()].flatMap((example) => [...example[quantity].subarray(1)].filter((value) => !Number.isNaN(value)));
    pooled.set(view, Object.fromEntries(QUANTITIES.map((quantity) => [quantity, join(quantity)])));
  }
  return pooled.get(view);
}

/** The case's two strongest texts, around their extremes; texts that read the same count once. */
function topExamples(name, stats, view, data) {
  const places = stats.extreme.post.map((place) => ({ example: view.examples.get(place.example), position: place.position, value: place.value }));
  const texts = folded(places, data).slice(0, 2).map(([{ example, position, value }], i) => heatText(example, {
    ...around(example, position, data), mark: position, quantity: "post",
    scale: Math.abs(places[0].value), data, label: `text ${i + 1} of ${caseLabel(name)}, post ${number(value)}; arrow keys move through its tokens`,
  }));
  return h("div.top-examples", {}, texts, places.length && h("p.muted.own-scale", {}, `Colours: post, full at ${number(Math.abs(places[0].value))}, this card's own.`));
}

/** Tokens that fit into so many characters before and after one: by default about two lines of a card. */
function around(example, position, data, before = 66, after = 16) {
  const size = (i) => data.text(example.ids[i]).length;
  let [from, to] = [position, position + 1];
  let room = before;
  while (from > 0 && room > size(from - 1)) room -= size(--from);
  room = after;
  while (to < example.ids.length && room > size(to)) room -= size(to++);
  return { from, to };
}

function effect(name, weights) {
  const plus = postSign(name) > 0;
  const vector = h("span", {}, plus ? "+w" : "−w", h("sub", {}, "out"));
  const line = h("p.effect", {}, h("span.muted", {}, `post ${plus ? "> 0" : "< 0"}: writes `), vector);
  if (!weights) return line;
  const { top, bottom } = weights.vectors.out;
  const [up, down] = plus ? [top, bottom] : [bottom, top];
  const tokens = (mark, verb, list) => list.length && h("span.tokens", {}, h("span.muted", {}, `${mark} `, termOf("promotes", verb), " "),
    spaced(list.slice(0, 4).map(([text, score]) => tokenChip(text, { title: number((plus ? 1 : -1) * score, { plus: true }) }))));
  return h("div.effect", {}, line, tokens("▲", "promotes", up), tokens("▼", "suppresses", down));
}
