// Open a neuron by its number, or see how its page is made.

/** The command that makes a neuron's page. */
const commandFor = (site, place) => `${site.make}/${address(place)}${site.options}`;

function wirePicker(site) {
  const first = site.cards[0];
  if (first) { $("layer").value = first.layer; $("neuron").value = first.neuron; }
  $("picker").addEventListener("submit", (event) => {
    event.preventDefault();
    pickNeuron(site, { layer: $("layer").valueAsNumber, neuron: $("neuron").valueAsNumber });
  });
  if (site.asked) pickNeuron(site, site.asked);
}

/** Opens a neuron's page, or says how to make it. */
function pickNeuron(site, wanted) {
  const exists = wanted.layer < site.n_layers && wanted.neuron < site.d_mlp && wanted.layer >= 0 && wanted.neuron >= 0;
  if (!exists) return $("picked").replaceChildren(`There is no such neuron: layers 0 to ${site.n_layers - 1}, neurons 0 to ${site.d_mlp - 1}.`);
  [$("layer").value, $("neuron").value] = [wanted.layer, wanted.neuron];
  if (opens(site, wanted)) location.href = address(wanted);
  else $("picked").replaceChildren(`L${wanted.layer} · N${wanted.neuron} has no page yet. To make it: `, h("code", {}, commandFor(site, wanted)));
}
