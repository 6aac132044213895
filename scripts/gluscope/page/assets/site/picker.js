// Open a neuron by its number, or see how its page is made.

/** The command that makes a neuron's page. */
const commandFor = (site, place) => `${site.make}/${address(place)}${site.options}`;

function wirePicker(site) {
  const first = site.cards[0];
  if (first) { $("layer").value = first.layer; $("neuron").value = first.neuron; }
  if ($("expert")) $("expert").value = first?.expert ?? "";
  $("picker").addEventListener("submit", (event) => {
    event.preventDefault();
    const expert = $("expert")?.value.trim().toUpperCase();
    pickNeuron(site, { layer: $("layer").valueAsNumber, neuron: $("neuron").valueAsNumber, ...(expert ? { expert } : {}) });
  });
  if (site.asked) pickNeuron(site, site.asked);
}

/** Opens a neuron's page, or says how to make it. */
function pickNeuron(site, wanted) {
  if (placeIn(site, wanted) < 0) return $("picked").replaceChildren(noSuchNeuron(site));
  [$("layer").value, $("neuron").value] = [wanted.layer, wanted.neuron];
  if ($("expert")) $("expert").value = wanted.expert ?? "";
  if (opens(site, wanted)) location.href = address(wanted);
  else $("picked").replaceChildren(`${spoken(wanted)} has no page yet. To make it: `, h("code", {}, commandFor(site, wanted)));
}
