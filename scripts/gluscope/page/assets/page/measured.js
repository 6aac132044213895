// What the neuron does to predictions, measured, beside what its weights promise. Drawn only if it was measured.
const SCOPES = { position: "at the token alone", case: "at all tokens of the case" };
const GROUPS = { strongest: "strongest", typical: "typical" };

function drawMeasured(root, { effect, weights }) {
  root.hidden = !effect;
  if (!effect) return;
  const names = IN_THE_PLANE.filter((name) => effect.cases[name].position.strongest);
  const note = `Measured: the model ran (${effect.dtype}) as it is and with post set to 0. Numbers are with the neuron minus without it, `
    + "mean ± standard deviation over the examples: of the log-probability of the token that follows, and KL(with ‖ without) over all tokens. "
    + "By the weights: w_out through the unembedding, without norms and later layers. Typical: sampled tokens of the case, as many as the strongest.";
  root.replaceChildren(
    h("h2", {}, "Measured effect ", h("span.muted", {}, "· what the model predicts with and without the neuron")),
    names.length ? h("div.measures", {}, names.map((name) => measuredCase(name, effect.cases[name], weights)))
      : h("p.muted", {}, "No token is in any case."),
    h("p.muted.note", {}, note));
}

function measuredCase(name, scopes, weights) {
  const found = scopes.position.strongest;
  return h("article", { "data-measured": name, "aria-label": `measured effect in case ${caseLabel(name)}` }, h("h3", {}, caseLabel(name)),
    h("table.norms", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "post set to 0"), ["tokens", "log p of the next, nats", "KL, nats"].map((title) => h("th", { scope: "col" }, title)))),
      h("tbody", {}, Object.entries(SCOPES).flatMap(([scope, where]) => Object.keys(GROUPS).map((group) => measuredRow(where, group, scopes[scope][group]))))),
    promised(name, found, weights));
}

function measuredRow(where, group, found) {
  if (!found) return h("tr", {}, h("th", { scope: "row" }, where), h("td", {}, GROUPS[group]), h("td.muted", { colspan: 2 }, "none sampled"));
  const spread = (value, plus) => (value ? `${number(value[0], { plus })}${value[2] > 1 ? ` ± ${number(value[1])}` : ""}` : "–");
  return h("tr", {}, h("th", { scope: "row" }, where), h("td", {}, `${found.kl[2]} ${GROUPS[group]}`),
    h("td", {}, h(found.change && found.change[0] < 0 ? "span.neg" : "span.pos", {}, spread(found.change, true))), h("td", {}, spread(found.kl, false)));
}

/** Tokens moved most at the strongest examples, and what w_out writes there; how far they agree. */
function promised(name, found, weights) {
  const plus = postSign(name) > 0;
  const { top, bottom } = weights?.vectors.out ?? { top: [], bottom: [] };
  const turned = (tokens) => tokens.map(([text, score]) => [text, plus ? score : -score]);
  const ends = { top: turned(plus ? top : bottom), bottom: turned(plus ? bottom : top) };
  const agreement = found.signs === null ? "Nothing moves." : `Of the ${top.length + bottom.length} tokens that the weights promise, `
    + `${percent(found.overlap)} are among those moved most, ${percent(found.signs)} move to the side promised (50 % by chance).`;
  return [tokenEnds("Measured, at the strongest", { top: found.raised, bottom: found.lowered }),
    weights ? tokenEnds("By the weights", ends) : null, weights ? h("p.muted.note", {}, agreement) : null];
}
