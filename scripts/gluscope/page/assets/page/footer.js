// How the page was made: to cite it, and to take its numbers away. The facts are render.py's.

// As CITATION.cff has them.
const AUTHORS = "{The GLUScope workflow authors}", YEAR = 2026, PAPER = "arxiv.org/abs/2602.23826";

/** The footer's citation as BibTeX: the page, with its address where it has one on the web, and the paper it follows. */
function bibtex(data) {
  const entry = (key, fields) => `@misc{${key},\n${Object.entries(fields).map(([name, value]) => `  ${name} = {${value}},\n`).join("")}}`;
  const web = /^https?:$/.test(location.protocol);
  return [entry(`gluscope-L${data.layer}-N${data.neuron}`, {
    author: AUTHORS, title: `Layer ${data.layer}, neuron ${data.neuron} of ${tex(data.provenance.model)}`, year: YEAR,
    ...(web ? { url: location.href } : {}), note: tex($("citation").textContent) }),
  entry("gerstner2026gluscope", {
    author: "Gerstner, Sebastian and Sch{\\\"u}tze, Hinrich", year: YEAR,
    title: "{GLUScope}: A Tool for Analyzing {GLU} Neurons in Transformer Language Models",
    eprint: PAPER.split("/").pop(), archivePrefix: "arXiv", url: `${"https"}://${PAPER}` })].join("\n\n");
}

function wireFooter(data) {
  $("copy-citation").addEventListener("click", (event) => copy($("citation").textContent, event.currentTarget));
  $("copy-bibtex").addEventListener("click", (event) => copy(bibtex(data), event.currentTarget));
  $("download").addEventListener("click", () => save(new Blob([JSON.stringify(data.plain())], { type: "application/json" }), fileName(data, "json")));
}
