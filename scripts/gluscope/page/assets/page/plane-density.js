// How many sampled tokens lie where in the plane, and what the colours mean.

/** Tokens by cell: "column,row" -> count. Cells start at the axes, so that none lies on both sides of one. */
function cellsOf({ x, y, points }) {
  const cells = new Map();
  for (let i = 0; i < points.gate.length; i++) {
    if (points.gate[i] === 0 || points.in[i] === 0) continue;
    const key = cellAt(x(points.gate[i]) - x(0), y(points.in[i]) - y(0));
    cells.set(key, (cells.get(key) ?? 0) + 1);
  }
  return cells;
}

const cellAt = (dx, dy) => `${Math.floor(dx / PLANE.cell)},${Math.floor(dy / PLANE.cell)}`;
const mostOf = (cells) => Math.max(1, ...cells.values());

/** Cells coloured by the sign of post, their strength by the logarithm of the count. */
function density({ x, y, cells }) {
  const { cell } = PLANE;
  const most = Math.log1p(mostOf(cells));
  const paths = new Map();
  for (const [key, count] of cells) {
    const [column, row] = key.split(",").map(Number);
    const sign = (column >= 0) === (row < 0) ? "pos" : "neg";
    const kind = `${sign} ${(0.16 + 0.84 * Math.log1p(count) / most).toFixed(2)}`;
    const size = cell - 0.5;
    const square = `M${(x(0) + column * cell).toFixed(1)} ${(y(0) + row * cell).toFixed(1)}h${size}v${size}h${-size}z`;
    paths.set(kind, (paths.get(kind) ?? "") + square);
  }
  return svg("g", { class: "density" }, [...paths].map(([kind, d]) => {
    const [sign, strength] = kind.split(" ");
    return svg("path", { class: sign, "fill-opacity": strength, d });
  }));
}

function drawLegend({ cells }) {
  const most = mostOf(cells);
  const ramp = (sign, meaning) => h("span.key", {}, h(`span.steps.${sign}`, { "aria-hidden": "true" }), meaning);
  $("legend").replaceChildren(ramp("pos", "post > 0"), ramp("neg", "post < 0"), most > 1 ? `1 to ${grouped(most)} tokens a cell (log).` : "one token a cell.");
}

/** What lies under the pointer: the place, post there, and the tokens of its cell. */
function readOut(plane, data, px, py) {
  const inside = px > PLANE.left && px < PLANE.width - PLANE.right && py > PLANE.top && py < PLANE.height - PLANE.bottom;
  if (!inside) { $("readout").textContent = ""; return; }
  const [gate, in_] = [plane.gateAt(px), plane.inAt(py)];
  const count = plane.cells.get(cellAt(px - plane.x(0), py - plane.y(0))) ?? 0;
  const at = (value) => number(value, { digits: 2 });
  $("readout").textContent = `gate ${at(gate)}, in ${at(in_)}: post ${at(data.act(gate) * in_)} · ${grouped(count)} token${count === 1 ? "" : "s"}`;
}
