// Small things that all parts use: elements, numbers, tokens as people read them.
const $ = (id) => document.getElementById(id);

/** An element; strings among the children become text, never HTML. */
function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  return dress(element, attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function dress(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Three significant digits. */
function number(value, { plus = false, decimals = null, digits = 3 } = {}) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return decimals === null ? "0" : (0).toFixed(decimals);
  const size = Math.abs(value);
  let text = size >= 1e-3 && size < 1e4 ? size.toPrecision(digits) : size.toExponential(1);
  if (decimals !== null) text = size.toFixed(decimals);
  else if (text.includes("e+") || (size >= 1000 && size < 1e4)) text = size < 1e4 ? String(Math.round(size)) : size.toExponential(1);
  return (value < 0 ? "−" : plus ? "+" : "") + text;
}

function percent(share) {
  if (share === null) return "unknown";
  if (share === 0) return "0 %";
  if (share < 1e-6) return "< 0.0001 %";
  const value = 100 * share;
  const text = value.toFixed(value >= 10 ? 1 : value >= 0.1 ? 2 : 4);
  return `${text.replace(/\.0$/, "")} %`;
}

const grouped = (count) => count.toLocaleString("en-US");
const caseLabel = (name) => name.replace("_", " ").replaceAll("-", "−");
const gateSign = (name) => (name.startsWith("gate+") ? 1 : -1);
const inSign = (name) => (name.endsWith("in+") ? 1 : -1);
const postSign = (name) => gateSign(name) * inSign(name);
const listsOf = (name) => (gateSign(name) > 0 ? ["post", "in", "gate"] : ["post", "in", "gate", "act"]);

// Characters that would be invisible, or that would turn the text around them.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

function unhide(text) {
  return text.replace(HIDDEN, (c) => {
    const code = c.codePointAt(0);
    return code < 32 ? String.fromCharCode(0x2400 + code) : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

/** Copies text; `button` says so for a moment. Where the browser's clipboard is closed (plain http), the old way. */
async function copy(text, button) {
  const label = button.textContent;
  try { await navigator.clipboard.writeText(text); } catch {
    const field = h("textarea", { class: "hidden" });
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    button.focus();
  }
  button.textContent = "copied";
  setTimeout(() => { button.textContent = label; }, 1500);
}

/** Hands a blob to the reader as a file. */
function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** Text as part of a sentence: newlines and tabs get a sign, a token of nothing but spaces gets dots. */
function inline(text) {
  const shown = unhide(text).replaceAll("\n", "↵").replaceAll("\t", "⇥");
  return /^ +$/.test(shown) ? "·".repeat(shown.length) : shown;
}

const clipped = (text, most) => (text.length > most ? `${text.slice(0, most)}…` : text);

/** Things with a space between, where a line may break. */
const spaced = (things) => things.flatMap((thing) => [thing, " "]);

/** A token by itself: every outer space visible; a very long one is cut. */
function tokenChip(text, attributes = {}) {
  const shown = clipped(unhide(text), 48).replaceAll("\n", "↵").replaceAll("\t", "⇥");
  const [, before, middle, after] = /^( *)(.*?)( *)$/s.exec(shown);
  const dots = (spaces) => spaces && h("span.space", {}, "·".repeat(spaces.length));
  return h("bdi.chip", attributes, dots(before), middle, dots(after));
}
