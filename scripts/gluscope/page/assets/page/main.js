// Puts the parts together and keeps them in step with the state.
let page = null;
const ready = start();
Object.defineProperty(window, "neuronReady", { configurable: true, get: () => ready.then((data) => data.plain()) });
Object.defineProperty(window, "neuron", { configurable: true, get: () => page?.plain() });

async function start() {
  const data = await openBlock($("data").textContent.trim());
  let plain = null;
  data.plain = () => (plain ??= plainNeuron(data));
  const views = {};
  data.view = () => (views[state.convention] ??= viewOf(data, state.convention));
  startState((convention) => ({ convention: convention ?? data.convention, case: strongestCase(casesIn(data, convention ?? data.convention)) }));
  page = data;
  document.body.append(tip, live);
  performance.mark("ready");
  document.documentElement.classList.add("ready");
  wire(data);
  redraw(new Set(["convention"]), data);
  onState((changed) => redraw(changed, data));
  // What the live site's own script needs to show a text of the reader's as the page shows its texts.
  if (LIVE) LIVE.page = { data, state, onState, caseOf, heatText, watchTokens };
  if (state.text) scrollToText();
  if (LINKED) document.documentElement.classList.add("linked");
  window.gluscopeShown = () => shownNow(data);
  document.dispatchEvent(new CustomEvent("neuron-ready"));
  return data;
}

/** What the page of two neurons compares: cases and sample in the convention shown, and the list shown. */
function shownNow(data) {
  const { cases, sample } = data.view();
  const list = listedQuantity();
  return { cases, sample: { gate: sample.gate, in: sample.in }, convention: state.convention, case: state.case, list, places: cases[state.case].extreme[list] };
}

/** What a click on a switch changes. */
function switched(key, value) {
  if (SWITCHES.includes(key)) return { [key]: state[key] ? null : value };
  const leavesPlane = key === "case" && ["near", "region"].includes(state.list);
  return { [key]: value, ...(key === "color" ? {} : OTHER_TEXTS), ...(leavesPlane ? { list: "post" } : {}) };
}

function wire(data) {
  for (const button of document.querySelectorAll("[data-set]")) {
    const [key, value] = button.dataset.set.split("=");
    button.addEventListener("click", () => (key === "convention" ? turnConvention(data, value) : setState(switched(key, value))));
  }
  watchTokens($("cards"), data);
  watchTokens($("list"), data);
  const pick = (changes) => { setState({ ...OTHER_TEXTS, ...changes }); showExamples(); };
  watchPlane($("plane"), () => data.view().plane, data, {
    place: (near) => pick({ list: "near", near }), region: (region) => pick({ list: "region", region }),
  });
  wireFigure(data);
  wireFooter(data);
  wireListFiles(data);
  wireListFigure(data);
  watchWords();
  $("copy-link").addEventListener("click", (event) => copy(location.href, event.currentTarget));
  document.querySelector(".skip").addEventListener("click", (event) => {  // the address keeps what is shown
    event.preventDefault();
    $("examples").focus();
    $("examples").scrollIntoView();
  });
  $("theme").addEventListener("click", turnTheme);
  $("open-help").addEventListener("click", () => $("help").showModal());
  document.addEventListener("keydown", (event) => shortcut(event, data));
}

function redraw(changed, data) {
  const view = data.view();
  if (changed.has("convention")) {
    drawHeadline(view);
    view.plane = drawPlane($("plane"), view, data);
    drawCards($("cards"), view, data, (changes, move) => { setState({ ...OTHER_TEXTS, ...changes }); if (move) showExamples(); });
    drawWords($("cards"), view);
    drawWeights($("weights"), view.weights);
    drawMeasured($("measured"), view);
  }
  press(view, data);
  const quantity = QUANTITIES.includes(state.list) ? state.list : "post";
  drawDots(view.plane, data, quantity, state.text, (dot, id) => {
    setState({ ...OTHER_TEXTS, case: dot.name, list: dot.listed, text: id });
    scrollToText();
  });
  drawChosen(view.plane);
  if (["convention", "case", "list", "color", "near", "region", "all", ...SWITCHES].some((key) => changed.has(key)) || (changed.has("text") && state.text && !state.full)) {
    drawList($("list"), view, data);
  }
}

/** Which buttons are pressed, which lists the case has, and the list's title. */
function press(view, data) {
  const inPlane = ["near", "region"].includes(state.list);
  for (const button of document.querySelectorAll("[data-set]")) {
    const [key, value] = button.dataset.set.split("=");
    const now = key === "list" && QUANTITIES.includes(state.list) ? listedQuantity() : state[key];
    button.setAttribute("aria-pressed", String(now === value && !(key === "case" && inPlane)));
    if (button.dataset.set === "list=act") button.hidden = gateSign(state.case) > 0;
    if (["list=near", "list=region"].includes(button.dataset.set)) button.hidden = state.list !== value;
    if (button.dataset.set === "list=typical") button.hidden = !data.sample.gate.length;
  }
  keepOnTheWay();
  for (const one of document.querySelectorAll(".card")) one.classList.toggle("chosen", one.dataset.case === state.case && !inPlane);
  const near = numbersOf(state.near, 2), region = numbersOf(state.region, 4);
  $("near-place").textContent = near ? `gate ${tick(near[0])}, in ${tick(near[1])}` : "";
  $("region-place").textContent = region ? `gate ${tick(region[0])} to ${tick(region[2])}, in ${tick(region[1])} to ${tick(region[3])}` : "";
  $("convention-note").textContent = data.sign === 0 ? `Convention: ${data.convention}.` : data.sign > 0
    ? "For this neuron both conventions are the same."
    : state.convention === "refactored" ? "w_in and w_out are negated against the model's files." : "w_in and w_out as in the model's files.";
}

/** The links to other neurons take case, list, colours and convention along. */
function keepOnTheWay() {
  const list = ["near", "region"].includes(state.list) ? "post" : state.list;
  const shown = new URLSearchParams({ case: state.case, list, color: state.color, convention: state.convention });
  for (const key of SWITCHES) if (state[key]) shown.set(key, "1");
  for (const link of document.querySelectorAll('.top a[href*="#go="]')) {
    link.setAttribute("href", `${link.getAttribute("href").split("&show=")[0]}&show=${encodeURIComponent(shown)}`);
  }
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

/** Keys: 1 to 4 choose a case, p g i a the colours, t typical tokens, c the convention, [ and ] the neighbours, ? help. */
function shortcut(event, data) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
  const colours = { p: "post", g: "gate", i: "in", a: "act" };
  if (colours[event.key]) setState({ color: colours[event.key] });
  else if (IN_THE_PLANE[Number(event.key) - 1]) setState(switched("case", IN_THE_PLANE[Number(event.key) - 1]));
  else if (event.key === "t" && data.sample.gate.length) setState(switched("list", "typical"));
  else if (event.key === "c" && document.querySelector("[data-set^=convention]")) turnConvention(data, state.convention === "raw" ? "refactored" : "raw");
  else if (event.key === "?") $("help").showModal();
  else if (event.key === "[") $("previous")?.click();
  else if (event.key === "]") $("next")?.click();
}
