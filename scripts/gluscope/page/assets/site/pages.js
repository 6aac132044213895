// The pages that exist, and a search among them.
const PAGE_ROWS = 100, ROWS_ABOVE_FINDER = 12;

function wireSearch(site) {
  const first = site.finder ? ROWS_ABOVE_FINDER : PAGE_ROWS;
  let shown = first;
  const texts = site.cards.map((card) => [nameOf(card), ...card.tokens, card.rw_class ?? "", ...card.said ?? []].join("\n").toLowerCase());
  const draw = () => {
    const typed = $("search").value, number = neuronAsked(typed);
    const words = number ? nameOf(number).toLowerCase() : asToken(typed).toLowerCase();
    const inWords = typed && !number && $("ask-how")?.value === "words";
    const found = site.cards.filter((card, i) => (inWords ? wordsOf(card, typed) : texts[i].includes(words) || site.answers?.(card)));
    site.pagesFound = typed ? found.length : null;
    $("pages").replaceChildren(...found.slice(0, shown).map((card) => pageRow(card, words)));
    $("found").textContent = found.length === site.cards.length ? `${grouped(found.length)} neuron${found.length === 1 ? "" : "s"}` : `${grouped(found.length)} of ${grouped(site.cards.length)}`;
    $("more").hidden = found.length <= shown;
    if (site.cards.length && !found.length) $("pages").replaceChildren(h("li.empty.muted", {}, `No page names “${clipped(typed, 40)}” at its strongest posts, in its class or as its number.${site.finder ? " Neurons without a page are found below." : ""}`));
    if (!site.cards.length) $("pages").replaceChildren(h("li.empty.muted", {}, "No neuron has a page yet. Choose one above, or find one below: its number shows the command that makes its page."));
  };
  if (site.finder) nameLists(site);
  followAsked();
  addEventListener("hashchange", () => { followAsked(); shown = first; draw(); });
  $("ask").addEventListener("submit", (event) => { event.preventDefault(); if (neuronAsked($("search").value)) $("asked").querySelector("a")?.click(); });
  $("search").addEventListener("input", () => { shown = first; draw(); sayAnswer(site, site.pagesFound, null); site.remember(); });
  $("more").addEventListener("click", () => { shown += PAGE_ROWS; draw(); });
  site.drawPages = draw;
  draw();
}

function pageRow(card, words) {
  const said = (card.said ?? []).find((text) => words && text.toLowerCase().includes(words));
  return h("li.row", {},
    h("a.name", { href: address(card) }, spoken(card)),
    h("span.peak", {}, card.token ? tokenChip(card.token) : null, " ", h("span.muted", {}, number(card.value, { plus: true }))),
    plot(card.frequency),
    h("span.line", {}, unhide(card.headline), said ? " " : null, said ? h("q.said", { dir: "auto" }, unhide(clipped(said, 120))) : null));
}

/** The four frequencies as areas, where the cases lie in the plane. */
function plot(frequency) {
  const places = { "gate-_in+": [0, 0, "neg"], "gate+_in+": [1, 0, "pos"], "gate-_in-": [0, 1, "pos"], "gate+_in-": [1, 1, "neg"] };
  const label = Object.keys(places).map((name) => `${caseLabel(name)} ${percent(frequency[name])}`).join(", ");
  return svg("svg", { viewBox: "0 0 30 30", class: "quadrants", role: "img", "aria-label": label }, svg("title", {}, label),
    Object.entries(places).map(([name, [column, row, sign]]) => {
      const side = 13.5 * Math.sqrt(frequency[name] ?? 0);
      return svg("rect", { class: sign, x: column ? 15.5 : 14.5 - side, y: row ? 15.5 : 14.5 - side, width: side, height: side });
    }), svg("path", { d: "M15 0v30M0 15h30" }));
}
