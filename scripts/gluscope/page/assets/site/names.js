// A neuron's name (layer, expert where it is in one, number) and its place on its layer's axis: core/size.py has the twin.
let MIXTURE = null; // {layers, dense, shared, experts, each} of a model with experts

const nameOf = ({ layer, neuron, expert }) => `L${layer}/${expert ? `${expert}/` : ""}N${neuron}`;
const shortName = ({ neuron, expert }) => `${expert ? `${expert} ` : ""}N${neuron}`;
const spoken = (place) => nameOf(place).replaceAll("/", " · ");
const address = (place) => `${nameOf(place)}.html`;

/** The neuron that a text names, or null. */
function neuronNamed(text) {
  const found = /^\s*L(\d+)\s*[/·]?\s*(?:(ES\d*|E\d+)\s*[/·]?\s*)?N(\d+)\s*$/i.exec(text ?? "");
  if (!found) return null;
  return { layer: Number(found[1]), neuron: Number(found[3]), ...(found[2] ? { expert: found[2].toUpperCase() } : {}) };
}

/** The MLPs of a layer: [[expert's name, neurons], ...]. */
function mlpsOf(site, layer) {
  if (!MIXTURE) return [["", site.d_mlp]];
  if (!MIXTURE.layers.includes(layer)) return [["", MIXTURE.dense]];
  const { shared, experts, each } = MIXTURE;
  return [...shared.map((width, i) => [shared.length > 1 ? `ES${i}` : "ES", width]), ...Array.from({ length: experts }, (_, i) => [`E${i}`, each])];
}

/** The neuron at a place of a layer; null where there is none. */
function neuronAt(site, layer, place) {
  let rest = place;
  for (const [expert, width] of mlpsOf(site, layer)) {
    if (rest < width) return { layer, neuron: rest, ...(expert ? { expert } : {}) };
    rest -= width;
  }
  return null;
}

/** A neuron's place in its layer; -1 for one that the model lacks. */
function placeIn(site, { layer, neuron, expert = "" }) {
  if (!(layer >= 0 && layer < site.n_layers)) return -1;
  let begin = 0;
  for (const [name, width] of mlpsOf(site, layer)) {
    if (name === expert) return neuron >= 0 && neuron < width ? begin + neuron : -1;
    begin += width;
  }
  return -1;
}

/** What to say of a neuron that the model lacks. */
function noSuchNeuron(site) {
  if (!MIXTURE) return `There is no such neuron: layers 0 to ${site.n_layers - 1}, neurons 0 to ${site.d_mlp - 1}.`;
  return `There is no such neuron: layers 0 to ${site.n_layers - 1}, experts E0 to E${MIXTURE.experts - 1} of ${MIXTURE.each} neurons.`;
}
