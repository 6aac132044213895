// What the finder shows, kept in the address: filters, ranges (a region is two), axes, sorting, and the search of pages.
const FINDER_DEFAULTS = { sort: "post strongest", descending: true };
const ASKS = { how: "ask-how", list: "ask-list", case: "ask-case", times: "ask-times" };

/** The address's say on the finder as plain values; null for what it does not say. */
function saidOfFinder() {
  const said = new URLSearchParams(location.hash.slice(1));
  const ranges = said.getAll("range").map((text) => /^(.+):([^:]*):([^:]*)$/.exec(text)).filter(Boolean)
    .map(([, column, low, high]) => ({ column, low, high }));
  const get = (key) => said.get(key);
  return {
    class: get("class"), from: get("from"), to: get("to"), x: get("x"), y: get("y"),
    sort: get("sort"), descending: get("order") !== "ascending", ranges,
    any: ["class", "from", "to", "x", "y", "sort", "order", "range"].some((key) => said.has(key)),
  };
}

/** Puts the address's say into the form; a column or class that does not exist is left out. */
function followAddress(form, table, site) {
  const said = saidOfFinder();
  const { elements } = form;
  const columns = numeric(table);
  const known = (name) => columns.includes(name);
  const finite = (text) => text === "" || Number.isFinite(Number(text));
  if (elements.class) elements.class.value = site.finder.classes.includes(said.class) ? String(site.finder.classes.indexOf(said.class)) : "";
  for (const key of ["from", "to"]) elements[key].value = /^\d+$/.test(said[key] ?? "") ? said[key] : elements[key].defaultValue;
  const [x, y] = usualAxes(columns);
  elements.x.value = known(said.x) ? said.x : x;
  elements.y.value = known(said.y) ? said.y : y;
  const sortable = known(said.sort) || said.sort === "times" || ["token", "class"].includes(said.sort) && table.columns[said.sort];
  finderState.sort = sortable ? said.sort : null;
  finderState.descending = said.descending;
  finderState.ranges = said.ranges.filter(({ column, low, high }) => known(column) && finite(low) && finite(high));
  return said.any;
}

const usualAxes = (columns) => (columns.includes("cos(w_in,w_out)")
  ? ["cos(w_in,w_out)", "cos(w_gate,w_out)"] : ["share gate+_in+", "post gate+_in+"]);

/** What the search box asks, from the address; `token` is what earlier pages called it. */
function followAsked() {
  const said = new URLSearchParams(location.hash.slice(1));
  $("search").value = said.get("search") ?? said.get("token") ?? "";
  for (const [key, id] of Object.entries(ASKS)) {
    const field = $(id), value = said.get(key);
    if (!field) continue;
    if (field.options) field.value = [...field.options].some((option) => option.value === value) ? value : field.options[0].value;
    else field.value = /^[1-9]\d*$/.test(value ?? "") ? value : "1";
  }
  if (!said.has("search") && said.has("token") && $("ask-how")) $("ask-how").value = "part";
}

/** Writes what is shown into the address; what is as at the start is left out. */
function writeAddress(form, table, site) {
  const said = new URLSearchParams(table ? "" : location.hash.slice(1)); // while columns load, what the address asks of them stays
  for (const key of ["search", ...Object.keys(ASKS)]) said.delete(key);
  const say = (key, value, usual) => { if (value !== undefined && value !== "" && value !== usual) said.append(key, value); };
  say("search", $("search").value);
  for (const [key, id] of Object.entries(ASKS)) if ($("search").value && $(id)) say(key, $(id).value, $(id).options ? $(id).options[0].value : "1");
  if (table) {
    const { elements } = form;
    if (elements.class?.value) say("class", site.finder.classes[Number(elements.class.value)]);
    for (const [key, end] of [["from", 0], ["to", site.n_layers - 1]]) {
      const { value, defaultValue } = elements[key]; // an empty field means all, which is not what a large site starts with
      say(key, value || !defaultValue ? value : String(end), defaultValue);
    }
    const [x, y] = usualAxes(numeric(table));
    say("x", elements.x.value, x);
    say("y", elements.y.value, y);
    say("sort", finderState.sort ?? undefined);
    say("order", finderState.descending ? "" : "ascending");
    for (const { column, low, high } of finderState.ranges) say("range", `${column}:${low}:${high}`);
  }
  const hash = said.toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}
