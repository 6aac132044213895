// Small things that all parts use: elements, tokens by themselves, files and the clipboard.
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

/** Things with a space between, where a line may break. */
const spaced = (things) => things.flatMap((thing) => [thing, " "]);

/** A token by itself: every outer space visible; a very long one is cut. */
function tokenChip(text, attributes = {}) {
  const shown = clipped(unhide(text), 48).replaceAll("\n", "↵").replaceAll("\t", "⇥");
  const [, before, middle, after] = /^( *)(.*?)( *)$/s.exec(shown);
  const dots = (spaces) => spaces && h("span.space", {}, "·".repeat(spaces.length));
  return h("bdi.chip", attributes, dots(before), middle, dots(after));
}
