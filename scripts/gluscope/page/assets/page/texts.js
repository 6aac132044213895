// Texts as heat-maps: one span a token, coloured by one quantity; hover, or arrow keys, shows all four.
const tip = h("div.tip", { role: "tooltip", hidden: true });
const live = h("div.hidden", { "aria-live": "polite", id: "live" });

/** The colour of a value: hue is its sign, strength its share of the list's scale. */
function paint(element, value, scale) {
  const strength = scale > 0 ? Math.min(1, Math.abs(value || 0) / scale) : 0;
  element.style.setProperty("--t", strength.toFixed(3));
  element.classList.toggle("neg", value < 0);
  element.classList.toggle("strong", strength > 0.1);
}

/** The turn of a chat that a token is in: [first token, token behind the last, role]. */
function turnAt(example, i) {
  return example.turns?.find(([begin, end]) => begin <= i && i < end);
}

/** Tokens from..to of an example as a block. `values` null: no colours. `breaks`: newlines break the line. `only`: the one case that has
 * colours. */
function heatText(example, { from, to, mark = -1, quantity, scale, breaks = false, only = null, label, data }) {
  const block = h("div.text", { dir: "auto", tabindex: 0, role: "group", "aria-label": label });
  if (from > 0) block.append(h("span.cut", { "aria-hidden": "true" }, "… "));
  for (let i = from; i < to; i++) {
    const turn = turnAt(example, i);
    if (turn && (i === turn[0] || i === from)) block.append(h("span.role", { dir: "ltr" }, unhide(turn[2])));
    const raw = data.text(example.ids[i]);
    const kind = data.kind(example.ids[i]);
    const token = h("span.t", kind ? { dir: "ltr" } : {}, inline(raw));
    if (kind) token.classList.add(kind === 1 ? "special" : "bytes");
    else if (/^\s+$/.test(raw)) token.classList.add("blank");
    if (i === mark) token.classList.add("mark", ...(raw.length < 24 ? ["short"] : []));
    if (data.isSkipped(example.ids[i])) token.classList.add("skipped");
    else if (example[quantity] && (!only || caseOf(example.gate[i], example.in[i]) === only)) paint(token, example[quantity][i], scale);
    if (example.weight && Number.isNaN(example.weight[i])) token.classList.add("elsewhere");
    token.place = i;
    block.append(token);
    if (breaks && raw.includes("\n")) block.append(h("br"));
  }
  if (to < example.ids.length) block.append(h("span.cut", { "aria-hidden": "true" }, " …"));
  block.example = example;
  block.current = mark;
  return block;
}

/** Listens once for all texts below `root`. */
function watchTokens(root, data) {
  root.addEventListener("pointerover", (event) => {
    const token = event.target.closest?.(".t");
    if (token && token.parentElement.example) showTip(token, data); else hideTip();
  });
  root.addEventListener("click", (event) => {  // a finger's pointer has left when it is lifted
    const token = event.target.closest?.(".t");
    if (token && token.parentElement.example) showTip(token, data);
  });
  root.addEventListener("pointerleave", hideTip);
  root.addEventListener("focusout", hideTip);
  root.addEventListener("focusin", (event) => {
    if (event.target.classList.contains("text") && event.target.matches(":focus-visible")) moveTo(event.target, event.target.current, data);
  });
  root.addEventListener("keydown", (event) => {
    const block = event.target;
    if (!block.classList?.contains("text")) return;
    const tokens = [...block.querySelectorAll(".t")];
    const first = tokens[0].place, last = tokens.at(-1).place;
    const at = Math.min(last, Math.max(first, block.current));
    const keys = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: first, End: last };
    if (event.key === "Escape") return hideTip();
    if (!(event.key in keys)) return;
    event.preventDefault();
    moveTo(block, Math.min(last, Math.max(first, keys[event.key])), data);
  });
}

function moveTo(block, place, data) {
  const token = [...block.querySelectorAll(".t")].find((one) => one.place === place) ?? block.querySelector(".t");
  block.querySelector(".here")?.classList.remove("here");
  if (!token) return;
  block.current = token.place;
  token.classList.add("here");
  showTip(token, data);
  live.textContent = tip.innerText.replaceAll("\n", ", ");
}

/** Why a token has no values. */
function whyUnvalued(example, i, data) {
  if (data.isSkipped(example.ids[i])) return "skipped: counts for nothing";
  return example.weight ? `does not reach ${data.expert}` : "not computed here";
}

function showTip(token, data) {
  const { example } = token.parentElement;
  const i = token.place;
  if (!example.gate) return;
  const turn = turnAt(example, i);
  const known = Number.isFinite(example.gate[i]);
  const name = known ? caseOf(example.gate[i], example.in[i]) : null;
  const row = (quantity) => h("tr", {}, h("th", { scope: "row" }, quantity), h("td", {}, number(example[quantity][i], { plus: true })));
  tip.replaceChildren(
    h("div.tip-head", {}, tokenChip(data.text(example.ids[i])), h("span.muted", {}, `token ${i + (example.offset ?? 0)}${turn ? ` · ${unhide(turn[2])}` : ""}`)),
    known ? h("table", {}, h("tbody", {}, ["post", "gate", "in", "act"].map(row))) : h("div.muted", {}, whyUnvalued(example, i, data)),
    example.weight && known ? h("div.muted", {}, `router's weight ${number(example.weight[i])}`) : "",
    known ? h("div.muted", {}, name ? caseLabel(name) : "gate or in is 0: in no case") : "",
  );
  placeTip(token.getClientRects()[0]);
}

/** Shows the tip above a box of the window, or below it where there is no room. */
function placeTip(box) {
  tip.hidden = false;
  const size = tip.getBoundingClientRect();
  const left = Math.min(innerWidth - size.width - 8, Math.max(8, box.left + box.width / 2 - size.width / 2));
  const above = box.top - size.height - 6;
  tip.style.left = `${left + scrollX}px`;
  tip.style.top = `${(above > 4 ? above : box.bottom + 6) + scrollY}px`;
}

function hideTip() { tip.hidden = true; document.querySelector(".t.here")?.classList.remove("here"); }
