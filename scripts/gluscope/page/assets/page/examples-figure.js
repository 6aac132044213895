// The list that is shown as a picture for papers: light colours, a line under what is below 0, and it says whose texts these are.
const SHEET = { width: 640, left: 70, right: 10, size: 11, line: 17, gap: 9, before: 110, after: 40 };
const LIGHT = { pos: "#f28b46", neg: "#70a8f5", ink: "#1b1c1f", soft: "#5d6068" };

/** The texts of the list, each around its framed token; those that read the same stand once. */
function listFigure(view, data) {
  const entries = entriesOf(view);
  const listed = state.list === "typical" ? "post" : state.list;
  const scale = scaleOf(state.list === "typical" ? extremeEntries(view, "post") : entries, state.color, listed);
  const context = h("canvas").getContext("2d");
  context.font = `${SHEET.size}px monospace`;
  const name = `${data.provenance.model}, layer ${data.layer}, ${data.expert ? `expert ${data.expert}, ` : ""}neuron ${data.neuron} (${state.convention})`;
  const title = [...fitted(unhide(name), 12, LIGHT.ink, 18, 1), ...fitted(whatIsListed(scale), 9, LIGHT.soft, 33, 2)];
  let y = 64;
  const rows = folded(entries, data).map(([entry]) => {
    const row = svg("g", {}, svg("text", { x: SHEET.left - 10, y, "text-anchor": "end", "font-family": "sans-serif", "font-size": SHEET.size, "font-weight": 600, fill: LIGHT.ink }, number(entry.value, { plus: true })));
    y = sheetText(row, entry, y, scale, data, (text) => context.measureText(text).width) + SHEET.line + SHEET.gap;
    return row;
  });
  const height = y - SHEET.gap;
  return svg("svg", { xmlns: "http://www.w3.org/2000/svg", width: SHEET.width, height, viewBox: `0 0 ${SHEET.width} ${height}` },
    svg("rect", { width: SHEET.width, height, fill: "#fff" }), title, rows);
}

function whatIsListed(scale) {
  const where = { typical: `Sampled tokens of ${caseLabel(state.case)}, by |post|`, near: `Tokens near gate, in ${state.near}`, region: `Tokens in a region of gate, in (${state.region})` };
  const what = where[state.list] ?? `Texts in which ${listedQuantity()} is most extreme in ${caseLabel(state.case)}, with its value at the framed token`;
  const only = state.only ? `, tokens of ${caseLabel(state.case)} alone` : "";
  return `${what}. Coloured by ${state.color}${only}: orange above 0, blue with a line below 0, full at ${number(scale)}.`;
}

/** Puts an entry's tokens into `row` from the height `y` on, line by line; the height of the last line. */
function sheetText(row, { example, position }, y, scale, data, widthOf) {
  const { from, to } = around(example, position, data, state.wide ? 3 * SHEET.before : SHEET.before, state.wide ? 3 * SHEET.after : SHEET.after);
  let x = SHEET.left;
  const put = (text, token) => {
    for (const piece of text.match(/.{1,80}/gsu) ?? []) {  // a token longer than a line
      const wide = widthOf(piece);
      if (x > SHEET.left && x + wide > SHEET.width - SHEET.right) { x = SHEET.left; y += SHEET.line; }
      if (token) row.append(...sheetMarks(x, y, wide, token));
      row.append(svg("text", { x: x.toFixed(1), y, textLength: wide.toFixed(1), "xml:space": "preserve", "font-family": "monospace", "font-size": SHEET.size, fill: token && !token.plain ? LIGHT.ink : LIGHT.soft }, piece));
      x += wide;
    }
  };
  if (from > 0) put("… ");
  for (let i = from; i < to; i++) {
    const raw = data.text(example.ids[i]);
    const inside = !state.only || caseOf(example.gate[i], example.in[i]) === state.case;
    const value = inside && !data.isSkipped(example.ids[i]) ? example[state.color]?.[i] || 0 : 0;
    put(inline(raw), { share: scale > 0 ? Math.min(1, Math.abs(value) / scale) : 0, below: value < 0, framed: i === position, plain: Boolean(data.kind(example.ids[i])) });
  }
  if (to < example.ids.length) put(" …");
  return y;
}

/** A token's colour, the line of what is below 0, and the frame. */
function sheetMarks(x, y, wide, { share, below, framed }) {
  const box = { x: x.toFixed(1), y: y - SHEET.size - 0.5, width: wide.toFixed(1), height: SHEET.size + 4 };
  return [
    share > 0.02 && svg("rect", { ...box, fill: below ? LIGHT.neg : LIGHT.pos, "fill-opacity": share.toFixed(2) }),
    below && share > 0.1 && svg("path", { d: `M${x.toFixed(1)} ${y + 2.5}h${wide.toFixed(1)}`, stroke: LIGHT.ink, "stroke-dasharray": "1.5 1.5", fill: "none" }),
    framed && svg("rect", { ...box, fill: "none", stroke: LIGHT.ink, "stroke-width": 1.3 }),
  ].filter(Boolean);
}

function wireListFigure(data) {
  const name = (kind) => fileName(data, `${state.case}-${state.list}.${kind}`);
  const file = () => drawingFile(listFigure(data.view(), data));
  $("list-svg").addEventListener("click", () => save(file(), name("svg")));
  $("list-png").addEventListener("click", async () => save(await pictureOf(file()), name("png")));
}
