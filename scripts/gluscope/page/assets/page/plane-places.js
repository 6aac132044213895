// A place in the plane is picked by a click, a region by a drag; both by keys as well.
const NUDGE = 8;

/** The numbers of "1.5,-2e-3", or null if there are not `count` of them. */
function numbersOf(text, count) {
  const parts = (text ?? "").split(",");
  const numbers = parts.map(Number);
  return numbers.length === count && parts.every((part) => part.trim()) && numbers.every(Number.isFinite) ? numbers : null;
}

const short = (value) => String(Number(value.toPrecision(4)));

/** `pick.place("gate,in")`, `pick.region("gate,in,gate,in")`: lower corner, then upper. */
function watchPlane(figure, currentPlane, data, pick) {
  const clamp = ([px, py]) => [
    Math.min(PLANE.width - PLANE.right, Math.max(PLANE.left, px)), Math.min(PLANE.height - PLANE.bottom, Math.max(PLANE.top, py))];
  const at = (event) => {
    const box = figure.querySelector("svg").getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * PLANE.width, (event.clientY - box.top) / box.height * PLANE.height];
  };
  const place = ([px, py]) => `${short(currentPlane().gateAt(px))},${short(currentPlane().inAt(py))}`;
  const region = (a, b) => `${place([Math.min(a[0], b[0]), Math.max(a[1], b[1])])},${place([Math.max(a[0], b[0]), Math.min(a[1], b[1])])}`;
  const far = (a, b) => Math.abs(a[0] - b[0]) > 4 && Math.abs(a[1] - b[1]) > 4;
  watchDrag(figure, at, clamp, far, (from, to) => pick.region(region(from, to)));
  figure.addEventListener("click", (event) => pick.place(place(clamp(at(event)))));
  figure.addEventListener("pointermove", (event) => readOut(currentPlane(), data, ...at(event)));
  figure.addEventListener("pointerleave", () => { $("readout").textContent = ""; });
  let here = null, anchor = null;
  figure.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: [NUDGE, 0], ArrowLeft: [-NUDGE, 0], ArrowUp: [0, -NUDGE], ArrowDown: [0, NUDGE] };
    const plane = currentPlane();
    here ??= [plane.x(0), plane.y(0)];
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return anchor && far(anchor, here) ? pick.region(region(anchor, here)) : pick.place(place(here));
    }
    if (!(event.key in moves)) return;
    event.preventDefault();
    anchor = event.shiftKey ? anchor ?? here : null;
    here = clamp([here[0] + moves[event.key][0], here[1] + moves[event.key][1]]);
    drawMark(anchor ?? here, anchor ? here : null);
    readOut(plane, data, ...here);
    live.textContent = `${anchor ? "to " : ""}gate ${number(plane.gateAt(here[0]))}, in ${number(plane.inAt(here[1]))}`;
  });
  figure.addEventListener("blur", () => { here = anchor = null; drawChosen(currentPlane()); });
}

/** A drag with the mouse or a pen, from corner to corner; a finger scrolls the page instead. */
function watchDrag(figure, at, clamp, far, done) {
  let from = null, dragged = false;
  figure.addEventListener("pointerdown", (event) => {
    dragged = false;
    from = event.button === 0 && event.pointerType !== "touch" ? clamp(at(event)) : null;
  });
  figure.addEventListener("pointermove", (event) => {
    if (!from || !(event.buttons & 1)) return;
    const to = clamp(at(event));
    if (!dragged && far(from, to)) { dragged = true; figure.setPointerCapture(event.pointerId); }
    if (dragged) drawMark(from, to);
  });
  figure.addEventListener("pointerup", (event) => {
    const to = from && clamp(at(event));
    if (dragged && far(from, to)) done(from, to);
    from = null;
  });
  figure.addEventListener("click", (event) => { if (dragged) event.stopImmediatePropagation(); dragged = false; }, true);
}

/** A ring at a place, or a frame from corner to corner. */
function drawMark(a, b = null) {
  $("cross").replaceChildren(b
    ? svg("rect", { class: "cross", x: Math.min(a[0], b[0]), y: Math.min(a[1], b[1]), width: Math.abs(a[0] - b[0]), height: Math.abs(a[1] - b[1]) })
    : svg("circle", { class: "cross", cx: a[0], cy: a[1], r: 9 }));
}

/** The mark of what the list below shows. */
function drawChosen({ x, y }) {
  const place = state.list === "near" && numbersOf(state.near, 2), region = state.list === "region" && numbersOf(state.region, 4);
  if (place) drawMark([x(place[0]), y(place[1])]);
  else if (region) drawMark([x(region[0]), y(region[1])], [x(region[2]), y(region[3])]);
  else $("cross").replaceChildren();
}
