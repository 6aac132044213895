// What others say of the neuron in a case, in words, with whose they are.
function described(name, view) {
  const said = view.descriptions?.[name] ?? [];
  return said.map(({ words, by, score, measure }) => h("p.described", {},
    h("q", { dir: "auto" }, unhide(words)), " ",
    h("span.muted", {}, unhide(by), score === null ? "" : h("span", { title: unhide(measure) }, `, score ${number(score)}`))));
}
