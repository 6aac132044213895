// Two pages in two frames: the address of this page is theirs, so that they show the same.
const FRAMES = [0, 1];
const frameOf = (i) => $(`frame-${i}`);
const neurons = [];

async function openPair() {
  await Promise.all(FRAMES.map(async (i) => {
    const html = new TextDecoder().decode(await gunzip(fromText($(`page-${i}`).textContent.trim())));
    const frame = frameOf(i);
    const loaded = new Promise((done) => { frame.onload = done; });
    frame.dataset.linked = "";
    frame.srcdoc = html;
    await loaded;
    neurons[i] = await frame.contentWindow.neuronReady;
    const size = () => { frame.style.height = `${Math.ceil(frame.contentDocument.documentElement.getBoundingClientRect().height) + 8}px`; };
    new ResizeObserver(size).observe(frame.contentDocument.body);
    size();
  }));
  showTheme();
  addEventListener("linked", drawDifferences);
  addEventListener("hashchange", drawDifferences);
  $("theme").addEventListener("click", () => { turnTheme(); showTheme(); });
  $("copy-link").addEventListener("click", (event) => copy(location.href, event.currentTarget));
  drawDifferences();
  document.documentElement.classList.add("ready");
}

function showTheme() {
  const { theme } = document.documentElement.dataset;
  for (const i of FRAMES) if (theme) frameOf(i).contentDocument.documentElement.dataset.theme = theme;
}

/** What the frames show now, each in numbers of its convention. */
const viewsNow = () => FRAMES.map((i) => frameOf(i).contentWindow.gluscopeShown());

function drawDifferences() {
  const [a, b] = viewsNow();
  drawTable(a, b);
  drawPlanes(a.sample, b.sample);
  drawBoth(a, b);
}

function drawTable(a, b) {
  const cell = (one, other, show) => [h("td", {}, show(one)), h("td", {}, show(other)), h(`td${far(one, other) ? ".much" : ""}`, {}, ratio(one, other))];
  const rows = Object.keys(a.cases).map((name) => {
    const [one, other] = [a.cases[name], b.cases[name]];
    const strongest = (stats) => stats.extreme.post[0]?.value ?? null;
    return h("tr", {}, h("th", { scope: "row" }, caseLabel(name)), cell(one.frequency, other.frequency, percent), cell(one.mean.post, other.mean.post, number), cell(strongest(one), strongest(other), number));
  });
  const heads = ["frequency", "mean post", "strongest post"].map((name) => h("th", { scope: "colgroup", colspan: 3 }, name));
  const under = ["frequency", "mean", "strongest"].flatMap(() => ["left", "right", "right / left"].map((name) => h("th", { scope: "col" }, name)));
  $("differs").replaceChildren(h("thead", {}, h("tr", {}, h("td"), heads), h("tr", {}, h("td"), under)), h("tbody", {}, rows));
  const distance = Object.keys(a.cases).reduce((sum, name) => sum + Math.abs((a.cases[name].frequency ?? 0) - (b.cases[name].frequency ?? 0)), 0) / 2;
  $("alike").textContent = `${percent(distance)} of tokens would have to change their case for the frequencies to be the same. Bold: by more than a factor of 1.5, or of another sign. Convention: ${a.convention}.`;
}

const ratio = (one, other) => (!one || other === null ? "–" : `${number(other / one, { digits: 2 })} ×`);
const far = (one, other) => (one === null) !== (other === null) || Boolean(one) && (other / one < 2 / 3 || other / one > 1.5);

/** Sampled tokens of both, thinned to the same number. */
function drawPlanes(a, b) {
  const [wide, high, pad] = [440, 380, 26];
  const reach = (key) => Math.max(1e-6, ...[a, b].flatMap((sample) => [...sample[key]].map(Math.abs)));
  const [g, u] = [reach("gate"), reach("in")];
  const x = (value) => wide / 2 + value / g * (wide / 2 - pad), y = (value) => high / 2 - value / u * (high / 2 - pad);
  const marks = (sample, kind) => {
    const step = Math.max(1, Math.ceil(sample.gate.length / 1500));
    const size = kind === "first" ? "a1.6 1.6 0 1 0 3.2 0a1.6 1.6 0 1 0 -3.2 0" : "h2.8v2.8h-2.8z";
    let d = "";
    for (let i = 0; i < sample.gate.length; i += step) d += `M${(x(sample.gate[i]) - 1.5).toFixed(1)} ${(y(sample.in[i]) - 1).toFixed(1)}${size}`;
    return svg("path", { class: kind, d, "fill-opacity": 0.45 });
  };
  $("planes").replaceChildren(
    svg("line", { class: "axis", x1: pad, x2: wide - pad, y1: y(0), y2: y(0) }), svg("line", { class: "axis", x1: x(0), x2: x(0), y1: pad, y2: high - pad }),
    marks(a, "first"), marks(b, "second"),
    svg("text", { x: wide - pad, y: y(0) - 5, "text-anchor": "end" }, `gate ${number(g)}`), svg("text", { x: x(0) + 5, y: pad - 6 }, `in ${number(u)}`));
}

/** Texts that stand in the list shown of both, by the product of their places. */
function drawBoth(a, b) {
  const other = new Map(b.places.map((place, rank) => [place.example, { ...place, rank }]));
  const shared = a.places.map((place, rank) => ({ ...place, rank, other: other.get(place.example) })).filter((place) => place.other);
  shared.sort((p, q) => (p.rank + 1) * (p.other.rank + 1) - (q.rank + 1) * (q.other.rank + 1));
  const same = shared.filter((place) => place.position === place.other.position).length;
  $("both-of").textContent = `· ${a.list} in ${caseLabel(a.case)}: ${shared.length} of ${Math.max(a.places.length, b.places.length)}${shared.length ? `, ${same} at the same token` : ""}`;
  $("both").replaceChildren(...shared.map((place) => {
    const tokens = neurons[0].examples[place.example].tokens;
    const part = (from, to) => unhide(tokens.slice(Math.max(0, from), to).join(""));
    return h("li", {}, h("strong", {}, `${number(place.value, { plus: true })} `), h("strong", {}, number(place.other.value, { plus: true })),
      h("bdi.text", {}, part(place.position - 14, place.position), h("mark", {}, part(place.position, place.position + 1)), part(place.position + 1, place.position + 6)));
  }));
  if (!shared.length) $("both").replaceChildren(h("li.muted", {}, "None."));
}

openPair();
