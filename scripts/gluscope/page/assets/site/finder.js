// The finder: filters, picture and table over all neurons, whether they have a page or not.
const FOUND_ROWS = 100;
const LABELS = { "share gate+": "gate open", "post strongest": "strongest post", times: "found in", effect: "effect (KL)" };
const columnLabel = (name) => LABELS[name] ?? (/^(share|post)/.test(name) ? name.replace("_", " ").replace(/(gate|in)-/g, "$1−") : name.replace(",", ", "));
const finderState = { ...FINDER_DEFAULTS, ranges: [], shown: FOUND_ROWS };

async function startFinder(site) {
  const form = $("finder-form");
  let table = null, scatter = null, current = null;
  const redraw = () => {
    if (!table?.rows) return;
    const began = performance.now();
    fillTimes(site, table);
    const filters = readFilters(form, table);
    const found = passing(table, filters);
    const sort = finderState.sort ?? (table.columns.times ? "times" : FINDER_DEFAULTS.sort);
    const order = sortedRows(table, found, table.columns[sort] ? sort : FINDER_DEFAULTS.sort, finderState.descending);
    current = { table, order, found };
    scatter = drawScatter($("scatter"), table, found, [form.elements.x.value, form.elements.y.value], finderState.ranges);
    drawTable(site, table, order, fresh);
    $("finder-empty").hidden = found.length > 0;
    if (!found.length) $("finder-empty").textContent = emptyAnswer(site, table, filters);
    drawByLayer(site, table, found, filters.times, form, fresh);
    if (filters.class !== undefined) countClasses(site, table, form, filters);
    sayFound(site, table, found.length);
    const unread = answersUnread(site, table, filters.times);
    sayPicked();
    site.answers = filters.times === null ? null : (one) => table.columns.times?.[one.layer * site.d_mlp + placeIn(site, one)] >= filters.times;
    site.drawPages();
    sayAnswer(site, site.pagesFound, found.length, unread);
    performance.measure("finder", { start: began });
  };
  const fresh = () => { finderState.shown = FOUND_ROWS; $("here").replaceChildren(); $("taken").hidden = true; picked.clear(); redraw(); site.remember(); readAsked().catch(sayUnreadable); };
  /** Reads the layers that the form asks for, one after another, and draws what is there now and then. */
  let reading = false, drawn = 0;
  const readAsked = async () => {
    if (!table || reading) return;
    reading = true;
    const bar = $("finder-progress");
    try {
      for (let done = 0, wanted; (wanted = layersWanted(site, form, table)).length; done++) {
        [bar.max, bar.value, bar.hidden] = [done + wanted.length, done, false];
        await readLayer(site, table, wanted[0]);
        if (wanted.length > 1 && performance.now() - drawn < 700) continue;
        redraw();
        drawn = performance.now();
      }
    } finally { [bar.hidden, reading] = [true, false]; }
  };
  site.remember = () => writeAddress(form, table, site);
  const askAgain = () => { sayAnswer(site, site.pagesFound, null); if (table) return ask(site, table, fresh); };
  site.keepClass = (name) => { form.elements.class.value = String(site.finder.classes.indexOf(name)); fresh(); $("finder").scrollIntoView(); };
  let typing = 0;
  $("search").addEventListener("input", () => { clearTimeout(typing); asked.run++; typing = setTimeout(askAgain, 150); });
  for (const id of ["ask-how", "ask-list", "ask-case", "ask-times"]) $(id).addEventListener("input", () => { $("ask-case").disabled = $("ask-list").selectedOptions[0]?.parentElement.tagName === "OPTGROUP"; askAgain(); });
  const follow = () => {
    const said = table && followAddress(form, table, site);
    drawRanges(table, fresh);
    finderState.shown = FOUND_ROWS;
    return said;
  };
  addEventListener("hashchange", () => { follow(); askAgain(); });
  form.addEventListener("input", () => { finderState.ranges = readRanges(); fresh(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  $("add-range").addEventListener("click", () => { finderState.ranges.push({ column: numeric(table).includes(finderState.sort) ? finderState.sort : FINDER_DEFAULTS.sort, low: "", high: "" }); drawRanges(table, fresh); });
  $("finder-reset").addEventListener("click", () => {
    const { x, y } = form.elements;
    const keep = [x.value, y.value];
    form.reset();
    [x.value, y.value] = keep;
    finderState.ranges = [];
    $("search").value = "";
    $("search").dispatchEvent(new Event("input"));
    drawRanges(table, fresh);
    ask(site, table, fresh);
  });
  $("finder-all")?.addEventListener("click", () => { [form.elements.from.value, form.elements.to.value] = ["", ""]; fresh(); });
  $("finder-more").addEventListener("click", () => { finderState.shown += FOUND_ROWS; redraw(); });
  document.addEventListener("theme", redraw);
  wireTaking(site, () => current);
  watchBrush($("scatter"), () => scatter, (sides) => {
    sides.forEach(([low, high], i) => {
      const column = scatter.names[i];
      finderState.ranges = finderState.ranges.filter((range) => range.column !== column);
      finderState.ranges.push({ column, low: low.toPrecision(4), high: high.toPrecision(4) });
    });
    drawRanges(table, fresh);
    fresh();
  }, (px, py) => drawHere(site, table, scatter?.near(px, py, current.found)));
  try {
    askForFirst(site, form);
    const said = saidOfFinder();
    for (const key of ["from", "to"]) form.elements[key].value = /^\d+$/.test(said[key] ?? "") ? said[key] : form.elements[key].defaultValue;
    const opened = await openTable(site);
    await readLayer(site, opened, layersWanted(site, form, opened)[0]);
    table = site.table = opened;
    nameColumns(form, table);
    const wants = follow();
    drawn = performance.now();
    await readAsked();
    if (!current) redraw();
    if (wants) $("finder").scrollIntoView();
    await ask(site, table, fresh);
    performance.mark("finder-ready");
    document.documentElement.classList.add("finder-ready");
  } catch (error) { sayUnreadable(error); }
}

const sayUnreadable = (error) => { $("finder-found").textContent = `The data of all neurons cannot be read: ${error.message}. They lie in the folder finder/ beside this page.`; };

/** How many neurons pass, of how many; where not all layers are read, how to have them. */
function sayFound(site, table, count) {
  const { rows, bytes, layers } = site.finder;
  const whole = table.read.size === layers.length;
  $("finder-found").textContent = count === rows ? `${grouped(count)} neurons` : `${grouped(count)} of ${grouped(table.rows)} neurons${whole ? "" : ` that are read, of ${grouped(rows)}`}`;
  $("finder-unread").hidden = whole;
  $("finder-all").textContent = `read all ${layers.length} layers${bytes ? ` (${Math.ceil(bytes / 1e6)} MB)` : ""}`;
}

/** How many neurons of a layer answer to the tokens that are searched; other filters aside. */
function answersOf(site, table, times, layer) {
  const values = table.columns.times.subarray(layer * site.d_mlp, (layer + 1) * site.d_mlp);
  let count = 0;
  for (const value of values) if (value >= times) count++;
  return count;
}

/** The same of all layers that are not read. */
function answersUnread(site, table, times) {
  if (!table.columns.times || times === null || table.read.size === site.n_layers) return 0;
  return site.finder.layers.reduce((sum, _, layer) => sum + (table.read.has(layer) ? 0 : answersOf(site, table, times, layer)), 0);
}

/** The neurons at a point of the picture. */
function drawHere(site, table, rows) {
  if (!rows) return;
  const shown = rows.slice(0, 12).flatMap((row) => [pageLink(site, placeOf(table, row), true), " "]);
  $("here").replaceChildren(rows.length ? `${grouped(rows.length)} neuron${rows.length === 1 ? "" : "s"} here: ` : "No neuron that passes lies here.", ...shown, rows.length > 12 ? "…" : "");
}

/** How many neurons of each class pass the other filters. */
function countClasses(site, table, form, filters) {
  if (!form.elements.class) return;
  const counts = new Uint32Array(site.finder.classes.length);
  for (const row of passing(table, { ...filters, class: "" })) counts[table.columns.class[row]]++;
  for (const option of form.elements.class.options) if (option.value) option.textContent = `${site.finder.classes[Number(option.value)]} · ${grouped(counts[Number(option.value)])}`;
}

/** Columns of numbers, for the choices. */
const numeric = (table) => Object.keys(table.columns).filter((name) => !["token", "class", "times"].includes(name));

function nameColumns(form, table) {
  for (const key of ["x", "y"]) form.elements[key].replaceChildren(...numeric(table).map((name) => h("option", { value: name }, columnLabel(name))));
}

function readFilters(form, table) {
  const { elements } = form;
  const whole = (field) => (field.value === "" ? null : Number(field.value));
  const ranges = finderState.ranges.map(({ column, low, high }) => ({
    column, low: low === "" ? -Infinity : Number(low), high: high === "" ? Infinity : Number(high),
  }));
  const times = asked.answer ? (table.columns.times ? (asked.answer.rows ? 1 : timesAsked()) : Infinity) : null;
  return { class: elements.class?.value ?? "", times: table.columns.times || asked.answer?.failed || asked.answer && !asked.answer.ids.length ? times : null, from: whole(elements.from), to: whole(elements.to), ranges };
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
function drawByLayer(site, table, found, times, form, fresh) {
  const counts = new Uint32Array(site.n_layers);
  for (const row of found) counts[table.columns.layer[row]]++;
  const most = counts.reduce((a, b) => Math.max(a, b), 1);
  $("by-layer").replaceChildren(...Array.from(counts, (count, layer) => {
    const bar = h("span.bar", {}, count ? h("span") : null);
    if (count) bar.firstChild.style.width = `${100 * count / most}%`;
    const keep = () => { form.elements.from.value = form.elements.to.value = layer; fresh(); };
    const read = table.read.has(layer);
    const unread = read || !table.columns.times || times === null ? "not read" : `up to ${grouped(answersOf(site, table, times, layer))}`;
    const said = read ? `${count} neurons` : `${unread} neurons`.replace("not read neurons", "not read");
    return h("li", {}, h("button.link", { type: "button", onclick: keep, "aria-label": `layer ${layer}: ${said}` }, `L${layer}`, bar, h("span.count", {}, read ? grouped(count) : unread)));
  }));
}

function drawTable(site, table, order, changed) {
  const names = Object.keys(table.columns);
  const sort = finderState.sort ?? (table.columns.times ? "times" : FINDER_DEFAULTS.sort);
  const sorter = (name) => h("button.link", {
    type: "button",
    onclick: () => { finderState.descending = sort === name ? !finderState.descending : true; finderState.sort = name; changed(); },
  }, columnLabel(name));
  const rest = names.filter((name) => !["layer", "neuron", "token", "class", "times"].includes(name));
  const shown = [...(table.columns.times ? ["times"] : []), "token", ...rest, ...(names.includes("class") ? ["class"] : [])];
  const head = (name) => h("th", { scope: "col", "aria-sort": sort === name ? (finderState.descending ? "descending" : "ascending") : "none" }, sorter(name));
  const [top, body] = [$("finder-table").tHead, $("finder-table").tBodies[0]];
  top.replaceChildren(h("tr", {}, ["layer", "neuron"].map(head), h("th", { scope: "col" }, "lists"), shown.map(head)));
  body.replaceChildren(...[...order.subarray(0, finderState.shown)].map((row) => {
    const place = placeOf(table, row);
    const cell = (name) => {
      const value = table.columns[name][row];
      if (name === "token") return h("td", {}, table.tokens[value] === undefined ? "–" : tokenChip(table.tokens[value]));
      if (name === "class") return h("td", {}, site.finder.classes[value]);
      if (name === "times") return h("td.found-lists", {}, timesCell(site, row));
      return h("td", {}, name.startsWith("share") ? percent(value) : name === "effect" && value < 0 ? "–" : number(value));
    };
    const tick = h("input", { type: "checkbox", "aria-label": `tick ${nameOf(place)}`, checked: picked.has(row), onchange: (event) => {
      if (event.target.checked) picked.add(row); else picked.delete(row);
      sayPicked();
    } });
    const line = h("tr", {}, h("td", {}, h("label.tick", {}, tick, String(place.layer))), h("td", {}, pageLink(site, place)),
      h("td", {}, h("button.small", { type: "button", "aria-expanded": "false", "aria-label": `tokens of the lists of ${nameOf(place)}`, onclick: (event) => toggleLists(site, table, place, line, event.currentTarget) }, "tokens")), shown.map(cell));
    return line;
  }));
  $("finder-more").hidden = order.length <= finderState.shown;
}

/** Where the tokens that were searched stand, the fullest lists first. */
function timesCell(site, row) {
  if (asked.answer.rows) return h("q", { dir: "auto" }, unhide(clipped(asked.answer.rows.get(row), 120)));
  const lists = listsFound(site, row);
  return lists.slice(0, 3).flatMap((one, i) => [i ? h("span.muted", {}, " · ") : "", i ? h("span.muted", {}, listLabel(site, one)) : h("strong", {}, listLabel(site, one))])
    .concat(lists.length > 3 ? h("span.muted", {}, ` · ${lists.length - 3} more`) : "");
}

/** The commonest tokens of all lists of a neuron, in a row below its own. */
async function toggleLists(site, table, place, line, button) {
  if (button.getAttribute("aria-expanded") === "true") { line.nextElementSibling.remove(); button.setAttribute("aria-expanded", "false"); return; }
  button.setAttribute("aria-expanded", "true");
  const cell = h("td", { colspan: line.cells.length }, "…");
  line.after(h("tr.own-lists", {}, cell));
  try {
    const lists = await listsOfNeuron(site, table, place);
    const label = (name) => { const [quantity, itsCase] = name.split(" "); return ENDS[quantity] ? endLabel(name) : `${quantity} ${caseLabel(itsCase)}`; };
    const tokens = (name, all) => all.flatMap(([token, times]) => [tokenChip(token ?? ""), site.finder.lists.lists.includes(name) ? h("span.muted", {}, ` ${times} `) : " "]);
    cell.replaceChildren(h("dl.lists", {}, lists.map(([name, all]) => h("div", {}, h("dt", {}, label(name)), h("dd", {}, tokens(name, all))))));
  } catch (error) { cell.textContent = `They cannot be read: ${error.message}.`; }
}

/** The page, or the command that would make it. `whole`: with its layer. */
function pageLink(site, place, whole = false) {
  const label = whole ? spoken(place).replaceAll(" ·", "") : shortName(place);
  if (opens(site, place)) return h("a", { href: address(place) }, label);
  return h("button.link.muted", { type: "button", title: "No page yet: show the command that makes it", onclick: (event) => {
    event.target.replaceWith(h("code", {}, commandFor(site, place)));
  } }, label);
}
