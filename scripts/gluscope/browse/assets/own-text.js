// A text of the reader's own on a neuron's page: all four quantities at each token, and its tokens in the plane.
(() => {
"use strict";
const live = window.gluscopeLive;
if (!live?.box) return;
const { h, svg, number, caseLabel, tokenChip, inline } = live.tools;
const NAME = decodeURIComponent(location.pathname).replace(/^\/site\//, "").replace(/\.html$/, "");
let shown = null; // what the server said of the text, in the raw convention
const own = { text: (i) => shown.tokens[i][0], kind: (i) => shown.tokens[i][1], isSkipped: (i) => shown.tokens[i][2] };

function begin() {
  const { data, onState, watchTokens } = live.page;
  const box = live.box.ownBox([
    ["What this neuron does", async (text, result) => {
      shown = await live.box.ask(live.own.text, { text, neuron: NAME });
      shown.result = result;
      draw();
    }],
    ["Neurons that answer most strongly", live.box.showStrongest],
  ]);
  document.getElementById("examples").before(box);
  watchTokens(box, { ...data, ...own });
  onState((changed) => { if (shown && (changed.has("convention") || changed.has("color"))) draw(); });
  document.documentElement.classList.add("own-ready");
}

/** The values in the convention that the page shows. */
function turned() {
  const { data, state } = live.page;
  const flip = data.sign < 0 && state.convention === "refactored" ? -1 : 1;
  const known = (values, sign = 1) => values.map((value) => (value === null ? NaN : value === 0 ? 0 : sign * value));
  const ids = shown.tokens.map((_, i) => i);
  const weight = shown.weight ? known(shown.weight) : undefined; // the router's, of a neuron of an expert
  return { ids, weight, gate: known(shown.gate), in: known(shown.in, flip), act: known(shown.act), post: known(shown.post, flip) };
}

function draw() {
  const { data, state, heatText, caseOf } = live.page;
  const example = turned();
  const listed = Object.values(data.view().cases).map((one) => Math.abs(one.extreme[state.color]?.[0]?.value ?? 0));
  const scale = Math.max(...listed) || Math.max(...example[state.color].map((value) => Math.abs(value) || 0));
  const sizes = example.post.map((value) => Math.abs(value) || 0);
  const strongest = sizes.indexOf(Math.max(...sizes));
  const heat = heatText(example, { from: 0, to: example.ids.length, mark: strongest, quantity: state.color, scale, breaks: true, label: "Your text", data: own });
  const cases = example.ids.map((i) => (own.isSkipped(i) ? null : caseOf(example.gate[i], example.in[i])));
  const reached = example.weight?.filter((weight) => !Number.isNaN(weight)).length;
  const count = (name) => cases.filter((one) => one === name).length;
  const shares = [...new Set(cases)].filter(Boolean).sort().map((name) => `${caseLabel(name)} ${count(name)}`).join(", ");
  const cut = shown.cut ? ` The text was cut there.` : "";
  const outside = drawInPlane(example, cases);
  if (reached === 0) return shown.result.replaceChildren(h("p", {}, `${example.ids.length} tokens, none of which reaches ${data.expert}.${cut}`), heat);
  const where = reached === undefined ? "" : `, ${reached} of which reach ${data.expert}`;
  const line = h("p", {}, `${example.ids.length} tokens${where}: ${shares}.${cut} Strongest post ${number(example.post[strongest], { plus: true })} at `,
    tokenChip(own.text(strongest)), `. Colours: ${state.color}, full at the strongest listed value, ${number(scale)}.`);
  if (outside) line.append(` ${outside} tokens lie outside the plane and stand at its edge.`);
  shown.result.replaceChildren(line, heat, valueTable(example, cases));
}

function valueTable(example, cases) {
  const heads = ["", "token", "gate", "in", "act", "post", "case"].map((head) => h("th", { scope: "col" }, head));
  const rows = example.ids.map((i) => h("tr", {}, h("td", {}, String(i)), h("td", {}, tokenChip(own.text(i))),
    ["gate", "in", "act", "post"].map((quantity) => h("td", {}, number(own.isSkipped(i) ? null : example[quantity][i], { plus: true }))),
    h("td", {}, own.isSkipped(i) ? "skipped" : cases[i] ? caseLabel(cases[i]) : isElsewhere(example, i) ? "elsewhere" : "none")));
  return h("details", {}, h("summary", {}, "All values"),
    h("div.own-values", { tabindex: 0, role: "region", "aria-label": "All values" }, h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows))));
}

const isElsewhere = (example, i) => Boolean(example.weight) && Number.isNaN(example.weight[i]);

/** A diamond for each token; returns how many lie outside of what the plane shows. */
function drawInPlane(example, cases) {
  const plane = live.page.data.view().plane;
  document.getElementById("own-dots")?.remove();
  const group = svg("g", { id: "own-dots" });
  const within = (value, [low, high]) => Math.min(high, Math.max(low, value));
  let outside = 0;
  example.ids.filter((i) => !own.isSkipped(i) && !isElsewhere(example, i)).forEach((i) => {
    const [g, u] = [within(example.gate[i], plane.gates), within(example.in[i], plane.ins)];
    if (g !== example.gate[i] || u !== example.in[i]) outside++;
    const [x, y] = [plane.x(g), plane.y(u)];
    group.append(svg("path", { d: `M${x} ${y - 4}l4 4-4 4-4-4z` },
      svg("title", {}, `“${inline(shown.tokens[i][0])}” of your text: ${cases[i] ? caseLabel(cases[i]) : "no case"}, post ${number(example.post[i], { plus: true })}`)));
  });
  document.querySelector("#plane svg").append(group);
  return outside;
}

if (live.page) begin();
else document.addEventListener("neuron-ready", begin, { once: true });
})();
