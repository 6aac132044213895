// From tokens to the lists that they stand in: which tokens a search means, and how often each list of each neuron has them.
let handedOver;
window.gluscopeBlock = (text) => { handedOver = text; };

function loadScript(source) {
  return new Promise((done, failed) => {
    const script = h("script", { src: source });
    handedOver = undefined;
    script.onload = () => { script.remove(); done(handedOver); };
    script.onerror = () => failed(new Error(`${source} cannot be read`));
    document.head.append(script);
  });
}

/** A block of the finder's data: its header and arrays. */
async function loadBlock(site, name) {
  const text = await loadScript(`${site.finder.folder}/${name}`);
  if (text === undefined) throw new Error(`${name} is damaged`);
  const bytes = await gunzip(fromText(text));
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return [header, readArrays(bytes, Math.ceil((4 + length) / 4) * 4, header.arrays)];
}

/** What is meant where a token is written as it is displayed. */
const asToken = (text) => text.replaceAll("·", " ").replaceAll("↵", "\n").replaceAll("⇥", "\t");

/** Whether a token is what was searched for: part of it, or all of it. A space before or after counts if one is typed. */
function tokenTest(text, how) {
  const plain = asToken(text), low = plain.toLowerCase();
  if (how === "part") return (token) => token.toLowerCase().includes(low);
  if (plain !== plain.trim()) return (token) => token === plain || token === text;
  return (token) => token.trim().toLowerCase() === low || token === text;
}

/** Ids of the tokens that are meant. */
function tokensMeant(table, text, how) {
  const test = tokenTest(text, how);
  const found = [];
  table.tokens.forEach((token, id) => { if (test(token)) found.push(id); });
  return found;
}

/** At how many places of each list of each neuron one of the tokens stands: [neuron * lists + list]. `index` is of the
 * finder's `lists`, or `ends`, which have a token once: there it is the places from its own to the list's end.
 * `told(files so far, files)` returns false to have it stop; then null.
 */
async function countTokens(site, index, ids, told) {
  const width = index.lists.length;
  const counts = new (site.finder.k > 255 ? Uint16Array : Uint8Array)(site.finder.rows * width);
  const files = Map.groupBy(ids, (id) => id % index.files);
  let read = 0;
  for (const [file, wanted] of files) {
    const [header, { id, begin, step, list, times }] = await loadBlock(site, `${index.name}-${file}.js`);
    if (header.name !== index.name || header.file !== file) throw new Error(`${index.name}-${file}.js is another file`);
    const places = new Map(wanted.map((one) => [one, true]));
    for (let t = 0; t < id.length; t++) {
      if (!places.has(id[t])) continue;
      const end = t + 1 < id.length ? begin[t + 1] : step.length;
      let neuron = 0;
      for (let i = begin[t]; i < end; i++) {
        neuron += step[i];
        const at = neuron * width + list[i];
        counts[at] = index.name === "ends" ? Math.max(counts[at], times[i]) : counts[at] + times[i];
      }
    }
    if (!told(++read, files.size)) return null;
  }
  return counts;
}

/** The commonest tokens of each list of one neuron: [[list's name, [[token, times], ...]], ...]; empty lists left out. */
async function listsOfNeuron(site, table, place) {
  const { finder } = site;
  const at = placeIn(site, place), cut = site.d_mlp > (finder.own ?? Infinity);
  const [name, first] = cut ? [`L${place.layer}-lists-${Math.floor(at / finder.own)}.js`, at - at % finder.own] : [`L${place.layer}-lists.js`, 0];
  table.ownLists = table.ownLists?.name === name ? table.ownLists : { name, block: loadBlock(site, name) };
  const [header, arrays] = await table.ownLists.block;
  if (header.layer !== place.layer || (header.first ?? 0) !== first) throw new Error(`${name} is the file of layer ${header.layer}`);
  const of = (lists, ids, times) => lists.map((list, i) => {
    const start = ((at - first) * lists.length + i) * finder.shown;
    return [list, Array.from({ length: finder.shown }, (_, j) => [table.tokens[ids[start + j]], times[start + j]]).filter(([, often]) => often)];
  });
  const ends = arrays["end token"] ? of(finder.ends.lists, arrays["end token"], arrays["end times"]) : [];
  return [...of(finder.lists.lists, arrays.token, arrays.times), ...ends].filter(([, tokens]) => tokens.length);
}
