// What a list shows: the extremes of one case and quantity, typical tokens, or those at a place or in a region of the plane.

/** What a list shows: entries {example, position, value?, note?}, by rank. */
function entriesOf(view) {
  if (state.list === "near") return nearEntries(view);
  if (state.list === "region") return regionEntries(view);
  if (state.list === "typical") return typicalEntries(view);
  return extremeEntries(view, listedQuantity());
}

const extremeEntries = (view, list) => view.cases[state.case].extreme[list].map((place) => ({
  example: view.examples.get(place.example), position: place.position, value: place.value,
}));

/** The chosen list; in gate+ cases act's is the gate's. */
function listedQuantity() {
  if (!QUANTITIES.includes(state.list)) return "post";
  return listsOf(state.case).includes(state.list) ? state.list : "gate";
}

/** A sampled token as an entry: in full if its text is here, else the few tokens around it. */
function sampleEntry(view, i, note) {
  const { sample } = view;
  const here = view.examples.get(sample.row[i]);
  if (here) return { example: here, position: sample.position[i], value: here[state.color][sample.position[i]], note };
  if (sample.start.length < 2) return null;
  const ids = sample.ids.subarray(sample.start[i], sample.start[i + 1]);
  const at = sample.at[i];
  const example = { row: sample.row[i], ids, offset: sample.position[i] - at, short: true };
  for (const quantity of QUANTITIES) {
    example[quantity] = new Float32Array(ids.length).fill(NaN);
    example[quantity][at] = sample[quantity][i];
  }
  return { example, position: at, value: sample[state.color][i], note };
}

/** Four tokens from each quarter of the case's sampled tokens, by |post|. */
function typicalEntries(view) {
  const { sample } = view;
  const inside = [];
  for (let i = 0; i < sample.gate.length; i++) if (caseOf(sample.gate[i], sample.in[i]) === state.case) inside.push(i);
  inside.sort((a, b) => Math.abs(sample.post[b]) - Math.abs(sample.post[a]) || a - b);
  const entries = [];
  const bands = ["strongest quarter", "second quarter", "third quarter", "weakest quarter"];
  bands.forEach((note, band) => {
    const from = Math.round(band * inside.length / 4), to = Math.round((band + 1) * inside.length / 4);
    const step = Math.max(1, (to - from) / 4);
    for (let k = from + step / 2; k < to; k += step) entries.push(sampleEntry(view, inside[Math.floor(k)], note));
  });
  return entries.filter(Boolean);
}

const SHOWN = 16, REGION_SHOWN = 24, REGION_MOST = 400;

/** Every sampled token and extreme that `wanted(gate, in)` gives a number, with that number; each once. */
function placesIn(view, wanted) {
  const found = new Map();
  const { points } = view.plane;
  for (let i = 0; i < points.gate.length; i++) {
    const rank = wanted(points.gate[i], points.in[i]);
    if (rank !== null) found.set(`${points.row[i]}:${points.position[i]}`, { rank, i, sampled: true, post: points.post[i] });
  }
  for (const { example: row, position } of CASES.flatMap((name) => Object.values(view.cases[name].extreme).flat())) {
    const example = view.examples.get(row);
    const rank = wanted(example.gate[position], example.in[position]);
    const key = `${row}:${position}`;
    if (rank !== null) found.set(key, { rank, example, position, sampled: found.get(key)?.sampled ?? false, post: example.post[position] });
  }
  return [...found.values()];
}

/** An entry for what `placesIn` found. */
function placeEntry(view, { example, position, i }) {
  if (example) return { example, position, value: example[state.color][position] };
  const { points } = view.plane;
  if (points.sampled) return sampleEntry(view, i);
  const text = view.examples.get(points.row[i]);
  return { example: text, position: points.position[i], value: text[state.color][points.position[i]] };
}

/** The tokens closest to the chosen place; distance in shares of the plane. */
function nearEntries(view) {
  const [gate, in_] = numbersOf(state.near, 2) ?? [0, 0];
  const { gates, ins } = view.plane;
  const found = placesIn(view, (g, u) => {
    const distance = Math.hypot((g - gate) / (gates[1] - gates[0]), (u - in_) / (ins[1] - ins[0]));
    return distance < 0.2 ? distance : null;
  });
  return found.sort((a, b) => a.rank - b.rank).slice(0, SHOWN).map((place) => placeEntry(view, place)).filter(Boolean);
}

/** The tokens of the chosen region by |post|; of many, some evenly from the strongest to the weakest. */
function regionEntries(view) {
  const [g0, u0, g1, u1] = numbersOf(state.region, 4) ?? [0, 0, 0, 0];
  const found = placesIn(view, (g, u) => (g >= g0 && g <= g1 && u >= u0 && u <= u1 ? 0 : null));
  found.sort((a, b) => Math.abs(b.post) - Math.abs(a.post));
  const count = Math.min(found.length, state.all ? REGION_MOST : REGION_SHOWN);
  const chosen = Array.from({ length: count }, (_, k) => found[Math.floor(k * found.length / count)]);
  const entries = chosen.map((place) => placeEntry(view, place)).filter(Boolean);
  if (entries.length) entries[0].note = regionNote(view, found, entries.length);
  return Object.assign(entries, { more: found.length > entries.length && !state.all ? Math.min(found.length, REGION_MOST) : 0 });
}

function regionNote({ plane }, found, shown) {
  const extremes = found.filter((place) => place.example).length;
  const points = plane.points.gate.length;
  const kind = plane.points.sampled ? "sampled tokens" : "tokens of the example texts";
  const inside = found.filter((place) => place.sampled).length;
  const share = plane.points.sampled && points ? ` (${percent(inside / points)})` : "";
  const listed = extremes ? ` and ${grouped(extremes)} listed extremes` : "";
  const some = shown < found.length ? `. ${grouped(shown)} of them, evenly from the largest |post| to the smallest` : ", by |post|";
  return `${grouped(inside)} ${kind}${share}${listed} in this region${some}`;
}
