// The plane as a picture for papers: always in light colours, and it says which neuron and which tokens these are.
const STYLES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linejoin",
  "paint-order", "font-family", "font-size", "font-weight", "text-anchor"];
const TITLE = 40;

/** The plane's drawing on its own, styles written into its elements. */
function figureCopy(data) {
  const drawn = $("plane").querySelector("svg");
  const root = document.documentElement, theme = root.dataset.theme;
  root.dataset.theme = "light";
  const picture = drawn.cloneNode(true);
  const [from, to] = [drawn, picture].map((one) => [...one.querySelectorAll("*")]);
  from.forEach((element, i) => {
    const style = getComputedStyle(element);
    for (const name of STYLES) if (style.getPropertyValue(name)) to[i].setAttribute(name, style.getPropertyValue(name));
    to[i].removeAttribute("class");
  });
  if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
  for (const id of ["readout", "cross"]) picture.querySelector(`#${id}`).remove();
  const { width, height } = PLANE;
  const name = `${data.provenance.model}, layer ${data.layer}, neuron ${data.neuron} (${state.convention})`;
  picture.prepend(svg("rect", { x: 0, y: -TITLE, width, height: height + TITLE, fill: "#fff" }),
    svg("text", { x: PLANE.left, y: -21, "font-family": "sans-serif", "font-size": 12, fill: "#1b1c1f" }, unhide(name)),
    svg("text", { x: PLANE.left, y: -7, "font-family": "sans-serif", "font-size": 9, fill: "#5d6068" }, whatIsDrawn(data)));
  for (const [key, value] of Object.entries({ xmlns: "http://www.w3.org/2000/svg", width, height: height + TITLE, viewBox: `0 ${-TITLE} ${width} ${height + TITLE}` })) picture.setAttribute(key, value);
  return picture;
}

function whatIsDrawn(data) {
  const count = data.sample.gate.length;
  const cells = count ? `${grouped(count)} sampled tokens` : "tokens of the example texts, not a random sample";
  const listed = QUANTITIES.includes(state.list) ? listedQuantity() : "post";
  return `Cells: ${cells}; orange post > 0, blue post < 0, log. Dots: extremes of ${listed}. Dashed: equal post.`;
}

const figureFile = (data) => new Blob([new XMLSerializer().serializeToString(figureCopy(data)).replace(/[\ufffe\uffff]/g, "\ufffd")], { type: "image/svg+xml" });

/** The same as PNG, four pixels for one. */
async function figurePicture(data) {
  const url = URL.createObjectURL(figureFile(data));
  const image = new Image();
  image.src = url;
  await image.decode();
  URL.revokeObjectURL(url);
  const canvas = h("canvas", { width: PLANE.width * 4, height: (PLANE.height + TITLE) * 4 });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function wireFigure(data) {
  $("save-svg").addEventListener("click", () => save(figureFile(data), fileName(data, "svg")));
  $("save-png").addEventListener("click", async () => save(await figurePicture(data), fileName(data, "png")));
}
