// The start page: pages that exist, a picker, and the way from one page to the next.
const PAGE_ROWS = 100, ROWS_ABOVE_FINDER = 12;

async function openJson(element) {
  return JSON.parse(new TextDecoder().decode(await gunzip(fromText(element.textContent.trim()))));
}

/** The command that makes a neuron's page. */
const commandFor = (site, place) => `${site.make}/${address(place)}${site.options}`;

const address = ({ layer, neuron }) => `L${layer}/N${neuron}.html`;

/** `#go=next&from=L5/N10602`: from a page to its neighbour among the pages that exist. `#go=L5/N7`: to that neuron. */
function go(site) {
  const wish = new URLSearchParams(location.hash.slice(1));
  const named = /^L(\d+)\/N(\d+)$/.exec(wish.get("go") ?? "");
  if (named) {
    const place = { layer: Number(named[1]), neuron: Number(named[2]) };
    if (site.has.has(address(place))) { location.replace(address(place)); return true; }
    site.asked = place;
    return false;
  }
  if (!wish.has("go") || !site.cards.length) return false;
  const [, layer, neuron] = /^L(\d+)\/N(\d+)$/.exec(wish.get("from") ?? "") ?? [0, -1, -1];
  const from = Number(layer) * site.d_mlp + Number(neuron);
  const places = site.cards.map((card) => card.layer * site.d_mlp + card.neuron);
  const count = places.length;
  let target = places.findIndex((place) => place > from);
  if (wish.get("go") === "previous") target = places.findLastIndex((place) => place < from);
  if (wish.get("go") === "random") {
    const others = places.map((_, i) => i).filter((i) => places[i] !== from);
    target = others.length ? others[Math.floor(Math.random() * others.length)] : 0;
  }
  if (target < 0) target = wish.get("go") === "previous" ? count - 1 : 0;
  location.replace(address(site.cards[target]));
  return true;
}

async function start() {
  const site = await openJson($("data"));
  site.has = new Set(site.cards.map(address));
  if (go(site)) return;
  addEventListener("hashchange", () => { site.asked = null; if (!go(site) && site.asked) pickNeuron(site, site.asked); });
  site.remember = () => writeAddress(null, null, site);
  $("theme").addEventListener("click", () => { turnTheme(); document.dispatchEvent(new Event("theme")); });
  wirePicker(site);
  drawLayers(site);
  wireSearch(site);
  $("to-finder")?.addEventListener("click", () => $("finder").scrollIntoView());
  window.site = site;
  document.documentElement.classList.add("ready");
  if (site.finder) startFinder(site);
}

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
  if (site.has.has(address(wanted))) location.href = address(wanted);
  else $("picked").replaceChildren(`L${wanted.layer} · N${wanted.neuron} has no page yet. To make it: `, h("code", {}, commandFor(site, wanted)));
}

/** How many pages each layer has, as a strip to choose from. */
function drawLayers(site) {
  $("layers").hidden = !site.cards.length;
  const counts = new Array(site.n_layers).fill(0);
  for (const card of site.cards) counts[card.layer]++;
  $("layers").replaceChildren(...counts.map((count, layer) => h("button.small", {
    disabled: count === 0, title: `${count} page${count === 1 ? "" : "s"}`,
    onclick: () => { $("search").value = `L${layer}/`; $("search").dispatchEvent(new Event("input")); },
  }, `L${layer}`, h("span.muted", {}, ` ${count || "·"}`))));
}

function wireSearch(site) {
  const first = site.finder ? ROWS_ABOVE_FINDER : PAGE_ROWS;
  let shown = first;
  const texts = site.cards.map((card) => `L${card.layer}/N${card.neuron} ${card.headline} ${card.rw_class ?? ""}`.toLowerCase());
  const draw = () => {
    const words = $("search").value.toLowerCase();
    const found = site.cards.filter((_, i) => texts[i].includes(words));
    $("pages").replaceChildren(...found.slice(0, shown).map(pageRow));
    $("found").textContent = found.length === site.cards.length ? `${grouped(found.length)} neuron${found.length === 1 ? "" : "s"}` : `${grouped(found.length)} of ${grouped(site.cards.length)}`;
    $("more").hidden = found.length <= shown;
    if (!site.cards.length) $("pages").replaceChildren(h("li.empty.muted", {}, "No neuron has a page yet. Choose one above, or find one below: its number shows the command that makes its page."));
  };
  $("search").value = new URLSearchParams(location.hash.slice(1)).get("search") ?? "";
  $("search").addEventListener("input", () => { shown = first; draw(); site.remember(); });
  $("more").addEventListener("click", () => { shown += PAGE_ROWS; draw(); });
  draw();
}

function pageRow(card) {
  return h("li.row", {},
    h("a.name", { href: address(card) }, `L${card.layer} · N${card.neuron}`),
    h("span.peak", {}, card.token ? tokenChip(card.token) : null, " ", h("span.muted", {}, number(card.value, { plus: true }))),
    plot(card.frequency),
    h("span.line", {}, unhide(card.headline)));
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

start();
