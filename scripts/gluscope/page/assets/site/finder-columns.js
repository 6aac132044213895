// All neurons as columns, loaded layer by layer; filters and sorting over them.
/** Columns of all neurons, filled as layers arrive; `told(layers so far)`. */
async function loadColumns(site, told) {
  const { finder } = site;
  const columns = Object.fromEntries(["layer", "neuron", "post strongest", "share gate+"].map((name) => [name, new Float32Array(finder.rows)]));
  const table = { site, columns, rows: 0, tokens: [], layers: 0 };
  const [words, { id }] = await loadBlock(site, "tokens.js");
  table.tokens = new Array(id.length ? id.at(-1) + 1 : 0);
  words.tokens.forEach((token, i) => { table.tokens[id[i]] = token; });
  for (const name of finder.layers) {
    const [{ layer }, arrays] = await loadBlock(site, name);
    if (name !== `L${layer}.js`) throw new Error(`${name} is the file of layer ${layer}`);
    for (const [key, values] of Object.entries(arrays)) {
      columns[key] ??= key === "token" ? new Uint32Array(finder.rows) : new Float32Array(finder.rows);
      columns[key].set(values, table.rows);
    }
    const count = arrays.token.length;
    derive(columns, arrays, table.rows, finder.rows);
    const own = mlpsOf(site, layer).reduce((sum, [, width]) => sum + width, 0);
    columns.layer.fill(layer, table.rows, table.rows + own);
    columns.layer.fill(-1, table.rows + own, table.rows + count); // places of layers with more neurons: no filter lets them pass
    for (let i = 0; i < count; i++) columns.neuron[table.rows + i] = i;
    table.rows += count;
    table.layers++;
    if (table.layers % 4 === 0) { told(table); await new Promise((next) => setTimeout(next)); }
  }
  told(table);
  return table;
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
function passing({ columns, rows }, filters) {
  const ranges = filters.ranges.map(({ column, low, high }) => ({ values: columns[column], low, high }));
  if (filters.class !== "") ranges.push({ values: columns.class, low: Number(filters.class), high: Number(filters.class) });
  if (filters.times !== null) ranges.push({ values: columns.times ?? columns.layer, low: filters.times, high: Infinity });
  ranges.push({ values: columns.layer, low: filters.from ?? 0, high: filters.to ?? Infinity });
  const found = new Uint32Array(rows);
  let count = 0;
  next: for (let row = 0; row < rows; row++) {
    for (const { values, low, high } of ranges) if (!(values[row] >= low && values[row] <= high)) continue next;
    found[count++] = row;
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
  if (table.ranks?.length === table.rows) return table.ranks;
  const rank = new Float32Array(table.tokens.length);
  Object.keys(table.tokens).sort((a, b) => (table.tokens[a] < table.tokens[b] ? -1 : 1)).forEach((token, place) => { rank[token] = place; });
  table.ranks = Float32Array.from(table.columns.token.subarray(0, table.rows), (token) => rank[token] ?? -1);
  return table.ranks;
}
