// Two columns against each other: all neurons in grey, those that pass in colour; a drag keeps a region.
const BOX = { width: 440, height: 380, left: 46, right: 8, top: 8, bottom: 34 };

function limits(values, spans) {
  let low = Infinity, high = -Infinity;
  for (const [begin, end] of spans) for (let i = begin; i < end; i++) { if (values[i] < low) low = values[i]; if (values[i] > high) high = values[i]; }
  return low < high ? [low, high] : [low - 1 || -1, high + 1 || 1];
}

function drawScatter(figure, table, found, [xName, yName], ranges) {
  const [xs, ys] = [table.columns[xName], table.columns[yName]];
  if (!xs || !ys) return null;
  const [xl, yl] = [limits(xs, table.spans), limits(ys, table.spans)];
  const [wide, high] = [BOX.width - BOX.left - BOX.right, BOX.height - BOX.top - BOX.bottom];
  const columns = Math.round(wide / 2), lines = Math.round(high / 2);
  const place = (row) => Math.min(columns - 1, Math.floor((xs[row] - xl[0]) / (xl[1] - xl[0]) * columns))
    + columns * Math.min(lines - 1, Math.floor((yl[1] - ys[row]) / (yl[1] - yl[0]) * lines));
  const [all, some] = [new Uint32Array(columns * lines), new Uint32Array(columns * lines)];
  for (const [begin, end] of table.spans) for (let row = begin; row < end; row++) all[place(row)]++;
  for (const row of found) some[place(row)]++;
  const canvas = figure.querySelector("canvas");
  canvas.width = columns;
  canvas.height = lines;
  const image = new ImageData(columns, lines);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).match(/\w\w/g).map((part) => parseInt(part, 16));
  const [grey, strong] = [colour("--soft-full"), colour("--pos")];
  const [most, mostSome] = [Math.log1p(all.reduce((a, b) => Math.max(a, b), 1)), Math.log1p(some.reduce((a, b) => Math.max(a, b), 1))];
  const everything = found.length === table.rows;
  for (let i = 0; i < all.length; i++) {
    if (!all[i]) continue;
    const chosen = some[i] > 0;
    const strength = chosen ? 0.3 + 0.7 * Math.log1p(some[i]) / mostSome : 0.1 + (everything ? 0.9 : 0.3) * Math.log1p(all[i]) / most;
    image.data.set([...(chosen ? strong : grey), 255 * strength], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  const x = (value) => BOX.left + (value - xl[0]) / (xl[1] - xl[0]) * wide;
  const y = (value) => BOX.top + (yl[1] - value) / (yl[1] - yl[0]) * high;
  /** The frame of the ranges that are kept of both columns, as far as it lies in the picture. */
  const kept = () => {
    const [a, b] = [xName, yName].map((name) => ranges.find((range) => range.column === name));
    if (!a || !b) return { width: 0, height: 0 };
    const end = (text, usual, [low, high]) => Math.min(high, Math.max(low, text === "" ? usual : Number(text)));
    const [x0, x1] = [x(end(a.low, xl[0], xl)), x(end(a.high, xl[1], xl))];
    const [y0, y1] = [y(end(b.high, yl[1], yl)), y(end(b.low, yl[0], yl))];
    return { x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0) };
  };
  const overlay = figure.querySelector("svg");
  overlay.setAttribute("viewBox", `0 0 ${BOX.width} ${BOX.height}`);
  overlay.replaceChildren(
    ...niceTicks(...xl).map((value) => svg("text", { x: x(value), y: BOX.height - BOX.bottom + 14, "text-anchor": "middle" }, plainTick(value))),
    ...niceTicks(...yl).map((value) => svg("text", { x: BOX.left - 5, y: y(value) + 4, "text-anchor": "end" }, plainTick(value))),
    svg("text", { class: "name", x: BOX.left + wide / 2, y: BOX.height - 3, "text-anchor": "middle" }, columnLabel(xName)),
    svg("text", { class: "name", x: -(BOX.top + high / 2), y: 10, transform: "rotate(-90)", "text-anchor": "middle" }, columnLabel(yName)),
    svg("rect", { class: "frame", x: BOX.left, y: BOX.top, width: wide, height: high }), svg("rect", { id: "brush", ...kept() }));
  return {
    names: [xName, yName],
    near: (px, py, rows) => rowsNear((row) => [x(xs[row]) - px, y(ys[row]) - py], rows),
    value: (px, py) => [xl[0] + (px - BOX.left) / wide * (xl[1] - xl[0]), yl[1] - (py - BOX.top) / high * (yl[1] - yl[0])],
  };
}

/** Rows within a few pixels of a place, the nearest first. */
function rowsNear(offset, rows) {
  const found = [];
  for (const row of rows) {
    const distance = Math.hypot(...offset(row));
    if (distance < 5) found.push([distance, row]);
  }
  return found.sort((a, b) => a[0] - b[0]).map(([, row]) => row);
}

const plainTick = (value) => String(value).replace("-", "−");

function niceTicks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(+(k * step).toPrecision(6));
  return found;
}

/** A drag in the figure: `kept([[x0, x1], [y0, y1]])` in the columns' values; a click: `clicked(x, y)` in the picture. */
function watchBrush(figure, current, kept, clicked) {
  let from = null;
  const place = (event) => {
    const box = figure.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * BOX.width, (event.clientY - box.top) / box.height * BOX.height];
  };
  const frame = (a, b) => ({ x: Math.min(a[0], b[0]), y: Math.min(a[1], b[1]), width: Math.abs(a[0] - b[0]), height: Math.abs(a[1] - b[1]) });
  figure.addEventListener("pointerdown", (event) => { from = place(event); figure.setPointerCapture(event.pointerId); });
  figure.addEventListener("pointermove", (event) => {
    if (from) for (const [key, value] of Object.entries(frame(from, place(event)))) $("brush").setAttribute(key, value);
  });
  figure.addEventListener("pointerup", (event) => {
    const drawn = from && frame(from, place(event));
    if (from && drawn.width < 4 && drawn.height < 4 && current()) clicked(...from);
    from = null;
    if (!drawn || drawn.width < 4 || drawn.height < 4 || !current()) return;
    const [x0, y1] = current().value(drawn.x, drawn.y);
    const [x1, y0] = current().value(drawn.x + drawn.width, drawn.y + drawn.height);
    kept([[x0, x1], [y0, y1]]);
  });
}
