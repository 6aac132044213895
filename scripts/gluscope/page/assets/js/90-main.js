// Puts the parts together and keeps them in step with the state.
let page = null;
const ready = start();
window.neuronReady = ready.then((data) => data.plain());
Object.defineProperty(window, "neuron", { configurable: true, get: () => page?.plain() });

async function start() {
  const data = await openBlock($("data").textContent.trim());
  let plain = null;
  data.plain = () => (plain ??= plainNeuron(data));
  const views = {};
  data.view = () => (views[state.convention] ??= viewOf(data, state.convention));
  startState({ convention: data.convention, case: strongestCase(data) });
  page = data;
  document.body.append(tip, live);
  performance.mark("ready");
  document.documentElement.classList.add("ready");
  wire(data);
  redraw(new Set(["convention"]), data);
  onState((changed) => redraw(changed, data));
  if (state.text) scrollToText();
  document.dispatchEvent(new CustomEvent("neuron-ready"));
  return data;
}

function strongestCase(data) {
  const size = (name) => Math.abs(data.cases[name].extreme.post[0]?.value ?? 0);
  return CASES.reduce((best, name) => (size(name) > size(best) ? name : best), "gate+_in+");
}

function wire(data) {
  for (const button of document.querySelectorAll("[data-set]")) {
    const [key, value] = button.dataset.set.split("=");
    button.addEventListener("click", () => setState({ [key]: value, text: null, full: null, ...(key === "case" && ["near"].includes(state.list) ? { list: "post" } : {}) }));
  }
  watchTokens($("cards"), data);
  watchTokens($("list"), data);
  const pickPlace = (gate, in_) => { setState({ list: "near", near: `${gate.toFixed(3)},${in_.toFixed(3)}`, text: null, full: null }); showExamples(); };
  watchPlane($("plane"), () => data.view().plane, pickPlace);
  $("download").addEventListener("click", () => download(data));
  $("theme").addEventListener("click", () => { turnTheme(); data.view().plane.repaint(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => data.view().plane.repaint());
  document.addEventListener("keydown", (event) => shortcut(event));
}

function redraw(changed, data) {
  const view = data.view();
  if (changed.has("convention")) {
    drawHeadline(view);
    view.plane = drawPlane($("plane"), view, data);
    drawCards($("cards"), view, data, (changes, move) => { setState({ ...changes, text: null, full: null }); if (move) showExamples(); });
    drawWeights($("weights"), view.weights);
  }
  press(view, data);
  const quantity = QUANTITIES.includes(state.list) ? state.list : "post";
  drawDots(view.plane, data, quantity, state.text, (dot, id) => {
    setState({ case: dot.name, list: dot.listed, text: id, full: null });
    scrollToText();
  });
  if (state.list === "near" && state.near) {
    const [gate, in_] = state.near.split(",").map(Number);
    drawCross(view.plane.x(gate), view.plane.y(in_));
  } else $("cross").replaceChildren();
  if (["convention", "case", "list", "color", "near"].some((key) => changed.has(key)) || (changed.has("text") && state.text && !state.full)) {
    drawList($("list"), view, data);
  }
}

function drawHeadline(view) {
  $("headline").replaceChildren(...view.headline.map(([text, kind]) => (
    kind === "strong" ? h("strong", {}, text) : kind === "token" ? tokenChip(text) : text)));
}

/** Which buttons are pressed, which lists the case has, and the list's title. */
function press(view, data) {
  for (const button of document.querySelectorAll("[data-set]")) {
    const [key, value] = button.dataset.set.split("=");
    const now = key === "list" && QUANTITIES.includes(state.list) ? listedQuantity() : state[key];
    button.setAttribute("aria-pressed", String(now === value));
    if (button.dataset.set === "list=act") button.hidden = gateSign(state.case) > 0;
    if (button.dataset.set === "list=near") button.hidden = state.list !== "near";
    if (button.dataset.set === "list=typical") button.hidden = !data.sample.gate.length;
  }
  for (const one of document.querySelectorAll(".card")) one.classList.toggle("chosen", one.dataset.case === state.case && state.list !== "near");
  $("near-place").textContent = state.near ? `gate ${state.near.split(",").map((part) => number(Number(part))).join(", in ")}` : "";
  $("convention-note").textContent = data.sign === 0 ? `Convention: ${data.convention}.` : data.sign > 0
    ? "For this neuron both conventions are the same."
    : state.convention === "refactored" ? "w_in and w_out are negated against the model's files." : "w_in and w_out as in the model's files.";
}

function showExamples() {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  $("examples").scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
}

function scrollToText() {
  const row = document.querySelector(`[data-text="${CSS.escape(state.text)}"]`);
  const fold = row?.closest("details");
  if (fold) fold.open = true;
  row?.scrollIntoView({ block: "center" });
}

function download(data) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(data.plain())], { type: "application/json" }));
  h("a", { href: url, download: `${data.run}-L${data.layer}-N${data.neuron}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** Keys: 1 to 4 choose a case, p g i a the colours, c the convention, [ and ] the neighbours. */
function shortcut(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  const colours = { p: "post", g: "gate", i: "in", a: "act" };
  const order = ["gate-_in+", "gate+_in+", "gate-_in-", "gate+_in-"];
  if (colours[event.key]) setState({ color: colours[event.key] });
  else if (order[Number(event.key) - 1]) setState({ case: order[Number(event.key) - 1], text: null, full: null, ...(state.list === "near" ? { list: "post" } : {}) });
  else if (event.key === "c" && document.querySelector("[data-set^=convention]")) setState({ convention: state.convention === "raw" ? "refactored" : "raw" });
  else if (event.key === "[") $("previous")?.click();
  else if (event.key === "]") $("next")?.click();
}
