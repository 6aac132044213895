// What is shown, kept in the address so that a link shows a colleague the same.
const DEFAULTS = { case: null, list: "post", color: "post", convention: null, text: null, full: null, near: null, region: null, all: null, only: null, wide: null, lines: null };
const LIST_NAMES = ["post", "in", "gate", "act", "typical", "near", "region"];
const SWITCHES = ["only", "wide", "lines"]; // on or off
const OTHER_TEXTS = { text: null, full: null, all: null };

// In a frame of the page of two neurons the address is that page's, and the other frame's too.
const LINKED = window.frameElement?.dataset.linked === undefined ? null : window.parent;
const HOST = LINKED ?? window;

const state = { ...DEFAULTS };
const listeners = [];

/** `listener(changed)` runs after every change; `changed` is the set of keys. */
function onState(listener) { listeners.push(listener); }

function setState(changes, { quiet = false } = {}) {
  const changed = new Set(Object.keys(changes).filter((key) => state[key] !== changes[key]));
  if (!changed.size) return;
  Object.assign(state, changes);
  if (!quiet) writeHash();
  for (const listener of listeners) listener(changed);
}

function writeHash() {
  const hash = linkTo({});
  const { location: at } = HOST;
  HOST.history.replaceState(null, "", hash === "#" ? at.pathname + at.search : hash);
  if (LINKED) LINKED.dispatchEvent(new CustomEvent("linked"));
}

/** The address of what is shown with some changes: what is as at the start is left out. */
function linkTo(changes) {
  const wanted = { ...state, ...changes };
  const usual = LINKED ? DEFAULTS : { ...atStart(wanted.convention), convention: atStart(null).convention };
  const parts = new URLSearchParams();
  for (const [key, value] of Object.entries(wanted)) {
    const unused = (key === "near" || key === "region") && key !== wanted.list;
    if (value !== null && value !== usual[key] && !unused) parts.set(key, value);
  }
  return `#${parts}`;
}

let atStart = () => DEFAULTS; // what is shown where the address says nothing, by convention

/** Reads the address; what it does not say, or says wrongly, is as at the start. */
function readHash() {
  const said = new URLSearchParams(HOST.location.hash.slice(1));
  const convention = CONVENTIONS.includes(said.get("convention")) ? said.get("convention") : atStart(null).convention;
  const found = { ...atStart(convention), convention };
  const take = (key, valid) => { if (said.has(key) && valid(said.get(key))) found[key] = said.get(key); };
  take("case", (value) => CASES.includes(value));
  take("list", (value) => LIST_NAMES.includes(value));
  take("color", (value) => QUANTITIES.includes(value));
  take("text", (value) => /^\d+:\d+$/.test(value));
  take("full", (value) => value === "1");
  for (const key of ["all", ...SWITCHES]) take(key, (value) => value === "1");
  take("near", (value) => numbersOf(value, 2));
  take("region", (value) => numbersOf(value, 4));
  if (["near", "region"].includes(found.list) && !found[found.list]) found.list = DEFAULTS.list;
  return found;
}

/** first(convention): what to begin with; without a convention, the data's own. */
function startState(first) {
  atStart = (convention) => ({ ...DEFAULTS, ...first(convention) });
  Object.assign(state, readHash());
  for (const change of LINKED ? ["hashchange", "linked"] : ["hashchange"]) HOST.addEventListener(change, () => setState(readHash(), { quiet: true }));
}
