// The layers, to choose from.

/** How many pages each layer has, as a strip to choose from. */
function drawLayers(site) {
  $("layers").hidden = !site.cards.length;
  const counts = Array.from({ length: site.n_layers }, () => 0);
  for (const card of site.cards) counts[card.layer]++;
  $("layers").replaceChildren(...counts.map((count, layer) => h("button.small", {
    disabled: count === 0, title: `${count} page${count === 1 ? "" : "s"}`,
    onclick: () => { $("search").value = `L${layer}/`; $("search").dispatchEvent(new Event("input")); },
  }, `L${layer}`, h("span.muted", {}, ` ${count || "·"}`))));
}
