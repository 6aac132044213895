// The start page: pages that exist, a picker, and the way from one page to the next.

async function openJson(element) {
  return JSON.parse(new TextDecoder().decode(await gunzip(fromText(element.textContent.trim()))));
}

/** Whether a neuron's address leads to a page. On the live site all do: what has none is made then. */
const opens = (site, place) => LIVE !== null || site.has.has(address(place));

/** `#go=next&from=L5/N10602`: from a page to its neighbour among the pages that exist. `#go=L5/N7`: to that neuron. */
function go(site) {
  const wish = new URLSearchParams(location.hash.slice(1));
  const show = wish.get("show") ? `#${wish.get("show")}` : "";
  const place = neuronNamed(wish.get("go"));
  if (place) {
    if (opens(site, place)) { location.replace(address(place) + show); return true; }
    site.asked = place;
    return false;
  }
  if (!wish.has("go") || !site.cards.length) return false;
  const at = (one) => one.layer * site.d_mlp + placeIn(site, one);
  const from = at(neuronNamed(wish.get("from")) ?? { layer: -1, neuron: -1 });
  const places = site.cards.map(at);
  const count = places.length;
  let target = places.findIndex((place) => place > from);
  if (wish.get("go") === "previous") target = places.findLastIndex((place) => place < from);
  if (wish.get("go") === "random") {
    const others = places.map((_, i) => i).filter((i) => places[i] !== from);
    target = others.length ? others[Math.floor(Math.random() * others.length)] : 0;
  }
  if (target < 0) target = wish.get("go") === "previous" ? count - 1 : 0;
  location.replace(address(site.cards[target]) + show);
  return true;
}

async function start() {
  const site = await openJson($("data"));
  MIXTURE = site.mixture ?? null;
  site.has = new Set(site.cards.map(address));
  if (go(site)) return;
  addEventListener("hashchange", () => { site.asked = null; if (!go(site) && site.asked) pickNeuron(site, site.asked); });
  site.remember = () => writeAddress(null, null, site);
  $("theme").addEventListener("click", () => { turnTheme(); document.dispatchEvent(new Event("theme")); });
  $("open-help")?.addEventListener("click", () => $("help").showModal());
  wirePicker(site);
  drawLayers(site);
  wireSearch(site);
  $("to-finder")?.addEventListener("click", () => $("finder").scrollIntoView());
  window.site = site;
  document.documentElement.classList.add("ready");
  if (site.finder) startFinder(site);
}

start();
