// What is shown, kept in the address so that a link shows a colleague the same.
const DEFAULTS = { case: null, list: "post", color: "post", convention: null, text: null, full: null, near: null };
const LIST_NAMES = ["post", "in", "gate", "act", "typical", "near"];

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
  const parts = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) {
    if (value !== null && value !== initial[key]) parts.set(key, value);
  }
  const hash = parts.toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

let initial = { ...DEFAULTS };

/** Reads the address; what it does not say, or says wrongly, is as at the start. */
function readHash() {
  const said = new URLSearchParams(location.hash.slice(1));
  const found = { ...initial };
  const take = (key, valid) => { if (said.has(key) && valid(said.get(key))) found[key] = said.get(key); };
  take("case", (value) => CASES.includes(value));
  take("list", (value) => LIST_NAMES.includes(value));
  take("color", (value) => QUANTITIES.includes(value));
  take("convention", (value) => CONVENTIONS.includes(value));
  take("text", (value) => /^\d+:\d+$/.test(value));
  take("full", (value) => value === "1");
  take("near", (value) => /^-?[\d.]+,-?[\d.]+$/.test(value));
  return found;
}

function startState(first) {
  initial = { ...DEFAULTS, ...first };
  Object.assign(state, readHash());
  addEventListener("hashchange", () => setState(readHash(), { quiet: true }));
}
