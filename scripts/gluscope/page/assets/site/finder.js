// The finder: filters, picture and table over all neurons, whether they have a page or not.
const FOUND_ROWS = 100;
const LABELS = { "share gate+": "gate open", "post strongest": "strongest post" };
const columnLabel = (name) => LABELS[name] ?? (/^(share|post)/.test(name) ? name.replace("_", " ").replace(/(gate|in)-/g, "$1−") : name.replace(",", ", "));
const finderState = { ...FINDER_DEFAULTS, ranges: [], shown: FOUND_ROWS };

async function startFinder(site) {
  const form = $("finder-form");
  let table = null, scatter = null;
  const redraw = () => {
    if (!table?.rows) return;
    const began = performance.now();
    const filters = readFilters(form);
    const found = passing(table, filters);
    const order = sortedRows(table, found, finderState.sort, finderState.descending);
    scatter = drawScatter($("scatter"), table, found, [form.elements.x.value, form.elements.y.value], finderState.ranges);
    drawTable(site, table, order, fresh);
    drawByLayer(site, table, found, form, fresh);
    $("finder-found").textContent = found.length === site.finder.rows ? `${grouped(found.length)} neurons` : `${grouped(found.length)} of ${grouped(table.rows)} neurons`;
    performance.measure("finder", { start: began });
  };
  const fresh = () => { finderState.shown = FOUND_ROWS; redraw(); site.remember(); };
  site.remember = () => writeAddress(form, table, site);
  const follow = () => {
    const said = table && followAddress(form, table, site);
    drawRanges(table, fresh);
    finderState.shown = FOUND_ROWS;
    return said;
  };
  addEventListener("hashchange", () => { follow(); redraw(); });
  form.addEventListener("input", () => { finderState.ranges = readRanges(); fresh(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  $("add-range").addEventListener("click", () => { finderState.ranges.push({ column: finderState.sort, low: "", high: "" }); drawRanges(table, fresh); });
  $("finder-reset").addEventListener("click", () => { const { x, y } = form.elements; const keep = [x.value, y.value]; form.reset(); [x.value, y.value] = keep; finderState.ranges = []; drawRanges(table, fresh); fresh(); });
  $("finder-more").addEventListener("click", () => { finderState.shown += FOUND_ROWS; redraw(); });
  document.addEventListener("theme", redraw);
  watchBrush($("scatter"), () => scatter, (sides) => {
    sides.forEach(([low, high], i) => {
      const column = scatter.names[i];
      finderState.ranges = finderState.ranges.filter((range) => range.column !== column);
      finderState.ranges.push({ column, low: low.toPrecision(4), high: high.toPrecision(4) });
    });
    drawRanges(table, fresh);
    fresh();
  });
  try {
    await loadColumns(site, (now) => {
      const first = !table;
      if (first) { table = now; nameColumns(form, table); }
      const asked = first && follow();
      $("finder-progress").value = now.layers;
      redraw();
      if (asked) $("finder").scrollIntoView();
    });
    $("finder-progress").hidden = true;
    performance.mark("finder-ready");
    document.documentElement.classList.add("finder-ready");
  } catch (error) {
    $("finder-found").textContent = `The data of all neurons cannot be read: ${error.message}. They lie in the folder finder/ beside this page.`;
  }
}

/** Columns of numbers, for the choices. */
const numeric = (table) => Object.keys(table.columns).filter((name) => !["token", "class"].includes(name));

function nameColumns(form, table) {
  for (const key of ["x", "y"]) form.elements[key].replaceChildren(...numeric(table).map((name) => h("option", { value: name }, columnLabel(name))));
}

function readFilters(form) {
  const { elements } = form;
  const whole = (field) => (field.value === "" ? null : Number(field.value));
  const ranges = finderState.ranges.map(({ column, low, high }) => ({
    column, low: low === "" ? -Infinity : Number(low), high: high === "" ? Infinity : Number(high),
  }));
  return { class: elements.class?.value ?? "", token: elements.token.value, from: whole(elements.from), to: whole(elements.to), ranges };
}

function readRanges() {
  return [...document.querySelectorAll("#ranges .range")].map((row) => {
    const [column, low, high] = [...row.querySelectorAll("select, input")].map((field) => field.value);
    return { column, low, high };
  });
}

function drawRanges(table, changed) {
  if (!table) return;
  $("ranges").replaceChildren(...finderState.ranges.map((range) => {
    const choice = h("select", { "aria-label": "column" }, numeric(table).map((name) => h("option", { value: name, selected: name === range.column }, columnLabel(name))));
    const remove = h("button.small", { type: "button", "aria-label": "remove this range", onclick: () => {
      finderState.ranges = finderState.ranges.filter((one) => one !== range);
      drawRanges(table, changed);
      changed();
    } }, "×");
    return h("div.range", {}, choice, h("input", { type: "number", step: "any", value: range.low, "aria-label": "from", placeholder: "from" }),
      h("input", { type: "number", step: "any", value: range.high, "aria-label": "to", placeholder: "to" }), remove);
  }));
}

/** How many neurons of each layer pass; a click keeps the layer. */
function drawByLayer(site, table, found, form, fresh) {
  const counts = new Uint32Array(site.n_layers);
  for (const row of found) counts[table.columns.layer[row]]++;
  const most = counts.reduce((a, b) => Math.max(a, b), 1);
  $("by-layer").replaceChildren(...Array.from(counts, (count, layer) => {
    const bar = h("span.bar", {}, count ? h("span") : null);
    if (count) bar.firstChild.style.width = `${100 * count / most}%`;
    const keep = () => { form.elements.from.value = form.elements.to.value = layer; fresh(); };
    return h("li", {}, h("button.link", { type: "button", onclick: keep, "aria-label": `layer ${layer}: ${count} neurons` }, `L${layer}`, bar, h("span.count", {}, grouped(count))));
  }));
}

function drawTable(site, table, order, changed) {
  const names = Object.keys(table.columns);
  const sorter = (name) => h("button.link", {
    type: "button",
    onclick: () => { finderState.descending = finderState.sort === name ? !finderState.descending : true; finderState.sort = name; changed(); },
  }, columnLabel(name));
  const shown = ["token", ...names.filter((name) => !["layer", "neuron", "token", "class"].includes(name)), ...(names.includes("class") ? ["class"] : [])];
  const heads = ["layer", "neuron", ...shown].map((name) => h("th", {
    scope: "col", "aria-sort": finderState.sort === name ? (finderState.descending ? "descending" : "ascending") : "none",
  }, sorter(name)));
  const [head, body] = [$("finder-table").tHead, $("finder-table").tBodies[0]];
  head.replaceChildren(h("tr", {}, heads));
  body.replaceChildren(...[...order.subarray(0, finderState.shown)].map((row) => {
    const place = { layer: table.columns.layer[row], neuron: table.columns.neuron[row] };
    const cell = (name) => {
      const value = table.columns[name][row];
      if (name === "token") return h("td", {}, table.tokens[value] === undefined ? "–" : tokenChip(table.tokens[value]));
      if (name === "class") return h("td", {}, site.finder.classes[value]);
      return h("td", {}, name.startsWith("share") ? percent(value) : number(value));
    };
    return h("tr", {}, h("td", {}, String(place.layer)), h("td", {}, pageLink(site, place)), shown.map(cell));
  }));
  $("finder-more").hidden = order.length <= finderState.shown;
}

/** The page, or the command that would make it. */
function pageLink(site, place) {
  if (opens(site, place)) return h("a", { href: address(place) }, `N${place.neuron}`);
  return h("button.link.muted", { type: "button", title: "No page yet: show the command that makes it", onclick: (event) => {
    event.target.replaceWith(h("code", {}, commandFor(site, place)));
  } }, `N${place.neuron}`);
}
