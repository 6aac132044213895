// All neurons as columns, read layer by layer as they are looked at; filters and sorting over what is read.
const AT_ONCE = 400_000; // neurons: so many are read without being asked for

/** A table of all neurons of which no layer is read yet. `spans`: the rows of the layers that are, [begin, end). */
async function openTable(site) {
  const { finder } = site;
  const columns = Object.fromEntries(["layer", "neuron", "post strongest", "share gate+"].map((name) => [name, new Float32Array(finder.rows)]));
  const table = { site, columns, rows: 0, tokens: [], read: new Set(), spans: [] };
  const [words, { id }] = await loadBlock(site, "tokens.js");
  table.tokens = new Array(id.length ? id.at(-1) + 1 : 0);
  words.tokens.forEach((token, i) => { table.tokens[id[i]] = token; });
  return table;
}

/** Reads the columns of a layer; its rows stand where they do among those of all layers. */
async function readLayer(site, table, layer) {
  const { columns } = table;
  const name = site.finder.layers[layer];
  const [header, arrays] = await loadBlock(site, name);
  if (table.read.has(layer)) return;
  if (header.layer !== layer) throw new Error(`${name} is the file of layer ${header.layer}`);
  const start = layer * site.d_mlp, count = arrays.token.length;
  for (const [key, values] of Object.entries(arrays)) {
    columns[key] ??= key === "token" ? new Uint32Array(site.finder.rows) : new Float32Array(site.finder.rows);
    columns[key].set(values, start);
  }
  derive(columns, arrays, start, site.finder.rows);
  const own = mlpsOf(site, layer).reduce((sum, [, width]) => sum + width, 0);
  columns.layer.fill(layer, start, start + own);
  columns.layer.fill(-1, start + own, start + count); // places of layers with more neurons: no filter lets them pass
  for (let i = 0; i < count; i++) columns.neuron[start + i] = i;
  table.read.add(layer);
  table.rows += count;
  table.spans = joined([...table.spans, [start, start + count]]);
}

/** Stretches in order, those that touch as one. */
function joined(spans) {
  const found = [];
  for (const [begin, end] of spans.sort((a, b) => a[0] - b[0])) {
    if (found.at(-1)?.[1] === begin) found.at(-1)[1] = end; else found.push([begin, end]);
  }
  return found;
}

/** Layers that the form asks for and that are not read yet. */
function layersWanted(site, form, table) {
  const bound = (field, usual) => (field.value === "" ? usual : Number(field.value));
  const [from, to] = [bound(form.elements.from, 0), bound(form.elements.to, site.n_layers - 1)];
  const asked = site.finder.layers.map((_, layer) => layer).filter((layer) => layer >= from && layer <= to);
  return (asked.length || table.read.size ? asked : [0]).filter((layer) => !table.read.has(layer));
}

/** Where all neurons are too many to be read at once, the form asks for the first layers until somebody changes it. */
function askForFirst(site, form) {
  if (site.finder.rows <= AT_ONCE) return;
  const { from, to } = form.elements;
  [from.defaultValue, to.defaultValue] = ["0", String(Math.max(1, Math.floor(AT_ONCE / site.d_mlp)) - 1)];
}

/** Columns that follow from the four cases': how often the gate is open, and the post that is largest in size. */
function derive(columns, arrays, start, rows) {
  const [open, strongest] = ["share gate+", "post strongest"].map((name) => (columns[name] ??= new Float32Array(rows)));
  const posts = Object.keys(arrays).filter((name) => name.startsWith("post"));
  for (let i = 0; i < arrays.token.length; i++) {
    open[start + i] = arrays["share gate+_in+"][i] + arrays["share gate+_in-"][i];
    for (const name of posts) if (Math.abs(arrays[name][i]) > Math.abs(strongest[start + i])) strongest[start + i] = arrays[name][i];
  }
}

/** Row numbers that pass all filters: {class, times: at least so many, null for any, from, to, ranges: [{column, low, high}]}. */
function passing({ columns, rows, spans }, filters) {
  const ranges = filters.ranges.map(({ column, low, high }) => ({ values: columns[column], low, high }));
  if (filters.class !== "") ranges.push({ values: columns.class, low: Number(filters.class), high: Number(filters.class) });
  if (filters.times !== null) ranges.push({ values: columns.times ?? columns.layer, low: filters.times, high: Infinity });
  ranges.push({ values: columns.layer, low: filters.from ?? 0, high: filters.to ?? Infinity });
  const found = new Uint32Array(rows);
  let count = 0;
  for (const [begin, end] of spans) {
    next: for (let row = begin; row < end; row++) {
      for (const { values, low, high } of ranges) if (!(values[row] >= low && values[row] <= high)) continue next;
      found[count++] = row;
    }
  }
  return found.subarray(0, count);
}

const ROW_LIMIT = 2 ** 27;

/** The rows ordered by a column, posts by size: 26 bits of the value above 27 bits of the row make one number to sort.
 * 26 bits keep a float16, and whole numbers to 262,144, exactly.
 */
function sortedRows(table, rows, column, descending) {
  const values = column === "token" ? tokenRanks(table) : table.columns[column];
  const by = column.startsWith("post") ? (row) => Math.abs(values[row]) : (row) => values[row];
  const bits = new Uint32Array(Float32Array.from(rows, by).buffer);
  const keys = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) {
    const ordered = (bits[i] & 0x80000000 ? ~bits[i] >>> 0 : (bits[i] | 0x80000000) >>> 0) >>> 6;
    keys[i] = (descending ? 0x3ffffff - ordered : ordered) * ROW_LIMIT + rows[i];
  }
  keys.sort();
  return Uint32Array.from(keys, (key) => key % ROW_LIMIT);
}

/** Each row's place by the alphabet of its token. */
function tokenRanks(table) {
  if (table.ranksOf === table.read.size) return table.ranks;
  table.ranksOf = table.read.size;
  const rank = new Float32Array(table.tokens.length);
  Object.keys(table.tokens).sort((a, b) => (table.tokens[a] < table.tokens[b] ? -1 : 1)).forEach((token, place) => { rank[token] = place; });
  table.ranks = Float32Array.from(table.columns.token, (token) => rank[token] ?? -1);
  return table.ranks;
}
