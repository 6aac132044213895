// The box for a text of the reader's own, on every page of the live site, and the neurons that answer most strongly to it.
(() => {
"use strict";
const live = window.gluscopeLive;
if (!live?.own || !live.tools) return;
const { h, number, caseLabel, tokenChip } = live.tools;
const KEPT = "gluscope-own-text"; // from page to page, in this tab
const IN_THE_PLANE = ["gate-_in+", "gate+_in+", "gate-_in-", "gate+_in-"];

const kept = () => { try { return sessionStorage.getItem(KEPT) ?? ""; } catch { return ""; } };
const keep = (text) => { try { sessionStorage.setItem(KEPT, text); } catch { /* it stays on this page */ } };

async function ask(path, body) {
  const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try { answer = await fetch(path, options); } catch { throw new Error("The server does not answer: has it ended, or the tunnel to it?"); }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.error ?? `The server answers ${answer.status}.`);
  return found;
}

/** A section with a field for a text and a button for each action, [label, async (text, result element)]. */
function ownBox(actions) {
  const field = h("textarea", { id: "own-text", rows: 3, maxlength: live.own.longest, spellcheck: "false", placeholder: "Type or paste a text" });
  const said = h("output", { class: "muted", "aria-live": "polite" });
  const results = actions.map(() => h("div"));
  let asked = 0;
  const run = async (i) => {
    const text = field.value, mine = ++asked;
    if (!text.trim()) { said.textContent = "Type some words first."; return field.focus(); }
    keep(text);
    said.textContent = "The model runs …";
    const began = performance.now();
    try {
      await actions[i][1](text, results[i]);
      if (mine === asked) said.textContent = `${((performance.now() - began) / 1000).toFixed(1)} s`;
    } catch (error) { if (mine === asked) said.textContent = error.message; }
  };
  field.value = kept();
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(0);
  });
  const buttons = actions.map(([label], i) => h("button", { type: "button", onclick: () => run(i) }, label));
  return h("section.own", { "aria-label": "Your own text" },
    h("h2", {}, h("label", { for: "own-text" }, "Your own text")), field, h("div.own-do", {}, buttons, said), results);
}

/** The action that lists the neurons with the largest post, beside the last value of their own list. */
async function showStrongest(text, result) {
  const found = await ask(live.own.strongest, { text });
  const note = [`Neurons whose post is largest beside the last of the k values in their own list (1× would just enter it), in the ${found.convention} convention.`];
  const without = Object.values(found.left_out).reduce((a, b) => a + b, 0);
  if (without) note.push(`${without.toLocaleString("en-US")} whose list is not full are left out.`);
  if (found.cut) note.push(`The text was cut to ${found.tokens.length} tokens.`);
  result.replaceChildren(h("p.muted", {}, note.join(" ")), h("div.own-cases", {}, IN_THE_PLANE.map((name) => caseTable(name, found))));
}

function caseTable(name, found) {
  const heads = ["neuron", "token", "post", "of the last listed", "place"].map((head) => h("th", { scope: "col" }, head));
  const rows = found.cases[name].map((one) => h("tr", {},
    h("td", {}, h("a", { href: `/site/${one.neuron}.html` }, one.neuron)),
    h("td", {}, tokenChip(found.tokens[one.position][0])),
    h("td", {}, number(one.value, { plus: true })),
    h("td", {}, `${number(one.ratio)}×`),
    h("td", {}, one.place > one.k ? `behind all ${one.k}` : `${one.place} of ${one.k}`)));
  return h("div.own-case", { tabindex: 0, role: "region", "aria-label": `Strongest in ${caseLabel(name)}` }, h("h3", {}, caseLabel(name)),
    rows.length ? h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows)) : h("p.muted", {}, "No neuron has this case here."));
}

live.box = { ask, ownBox, showStrongest };
})();
