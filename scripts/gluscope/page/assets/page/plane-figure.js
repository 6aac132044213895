// The plane as a picture for papers: always in light colours, and it says which neuron and which tokens these are.
const STYLES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linejoin",
  "paint-order", "font-family", "font-size", "font-weight", "text-anchor"];
const TITLE = 54;

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
    ...fitted(unhide(name), 12, "#1b1c1f", -36, 1), ...fitted(whatIsDrawn(data), 9, "#5d6068", -20, 2));
  for (const [key, value] of Object.entries({ xmlns: "http://www.w3.org/2000/svg", width, height: height + TITLE, viewBox: `0 ${-TITLE} ${width} ${height + TITLE}` })) picture.setAttribute(key, value);
  return picture;
}

/** A text in at most so many lines of the picture's width, smaller where it would not fit. */
function fitted(text, size, fill, y, most) {
  const wide = PLANE.width - PLANE.left - PLANE.right;
  const context = h("canvas").getContext("2d");
  context.font = `${size}px sans-serif`;
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (lines.length < most && lines.at(-1) && context.measureText(longer).width > wide) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  const fits = Math.min(1, ...lines.map((line) => wide / Math.max(1, context.measureText(line).width)));
  return lines.map((line, i) => svg("text", { x: PLANE.left, y: y + 12 * i, "font-family": "sans-serif", "font-size": (size * fits).toFixed(2), fill }, line));
}

function whatIsDrawn(data) {
  const count = data.sample.gate.length;
  const cells = count ? `${grouped(count)} sampled tokens` : "tokens of the example texts, not a random sample";
  const listed = QUANTITIES.includes(state.list) ? listedQuantity() : "post";
  return `Cells: ${cells}; orange post > 0, blue post < 0, log. Dots: extremes of ${listed}, rings where post < 0. Dashed: equal post.`;
}

const drawingFile = (drawing) => new Blob([new XMLSerializer().serializeToString(drawing).replace(/[\ufffe\uffff]/g, "\ufffd")], { type: "image/svg+xml" });
const figureFile = (data) => drawingFile(figureCopy(data));

/** A drawing as PNG, four pixels for one. */
async function pictureOf(file) {
  const url = URL.createObjectURL(file);
  const image = new Image();
  image.src = url;
  await image.decode();
  URL.revokeObjectURL(url);
  const canvas = h("canvas", { width: image.naturalWidth * 4, height: image.naturalHeight * 4 });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function wireFigure(data) {
  $("save-svg").addEventListener("click", () => save(figureFile(data), fileName(data, "svg")));
  $("save-png").addEventListener("click", async () => save(await pictureOf(figureFile(data)), fileName(data, "png")));
}
