// The packed block -> typed arrays, in the convention that they are stored in.
const CASES = ["gate+_in+", "gate+_in-", "gate-_in+", "gate-_in-"];
const QUANTITIES = ["gate", "in", "act", "post"];
// As they lie on the page: gate- left, gate+ right, in+ above, in- below.
const IN_THE_PLANE = ["gate-_in+", "gate+_in+", "gate-_in-", "gate+_in-"];
const gateSign = (name) => (name.startsWith("gate+") ? 1 : -1);
const inSign = (name) => (name.endsWith("in+") ? 1 : -1);
const postSign = (name) => gateSign(name) * inSign(name);
const listsOf = (name) => (gateSign(name) > 0 ? ["post", "in", "gate"] : ["post", "in", "gate", "act"]);

/** Numbers of tokens: one byte below 176, two from 176, three from 240 (pack.py has the other half). */
function fromVarints(bytes) {
  const numbers = new Uint32Array(bytes.length);
  let count = 0;
  for (let i = 0; i < bytes.length; i++) {
    const first = bytes[i];
    if (first < 176) numbers[count++] = first;
    else if (first < 240) numbers[count++] = 176 + ((first - 176) << 8) + bytes[++i];
    else numbers[count++] = 176 + (64 << 8) + ((first - 240) << 16) + (bytes[++i] << 8) + bytes[++i];
  }
  return numbers.subarray(0, count);
}

/** Which tokens keep float16: those at most `near` from a listed extreme, or all. */
function nearMask(header) {
  const starts = new Map();
  let total = 0;
  for (const { row, length } of header.examples) { starts.set(row, [total, length]); total += length; }
  const mask = new Uint8Array(total).fill(header.near === null ? 1 : 0);
  if (header.near === null) return mask;
  for (const place of CASES.flatMap((name) => Object.values(header.cases[name].extreme).flat())) {
    const [start, length] = starts.get(place.example);
    mask.fill(1, start + Math.max(0, place.position - header.near), start + Math.min(length, place.position + header.near + 1));
  }
  return mask;
}

/** Near values as they are, far ones in the middle of their step. */
function joinedValues(mask, near, far, step) {
  const values = new Float32Array(mask.length);
  let [i, j] = [0, 0];
  for (let k = 0; k < mask.length; k++) values[k] = mask[k] ? near[i++] : (far[j++] + 0.5) * step;
  return values;
}

/** Everything the page knows, in the convention it was stored in. */
async function openBlock(text) {
  const bytes = await gunzip(fromText(text));
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const arrays = readArrays(bytes, Math.ceil((4 + length) / 4) * 4, header.arrays);
  const act = ACTIVATIONS[header.act_fn];
  const mask = nearMask(header);
  const texts = {
    ids: fromVarints(arrays.token),
    gate: joinedValues(mask, arrays.gate_near, arrays.gate_far, header.step.gate),
    in: joinedValues(mask, arrays.in_near, arrays.in_far, header.step.in),
    weight: arrays.weight, // the router's, of a neuron of an expert: NaN where a token does not reach it
  };
  arrays.weight?.forEach((weight, i) => { if (Number.isNaN(weight)) texts.gate[i] = texts.in[i] = NaN; });
  let start = 0;
  const examples = new Map();
  for (const { row, length: count, source, turns = [] } of header.examples) {
    const part = (name) => texts[name]?.subarray(start, start + count);
    examples.set(row, { row, source, turns, ids: part("ids"), gate: part("gate"), in: part("in"), weight: part("weight") });
    start += count;
  }
  const skipped = new Set(header.skipped);
  if (skipped.size) texts.ids.forEach((id, i) => { if (skipped.has(id)) texts.gate[i] = texts.in[i] = NaN; });
  const sample = {
    gate: arrays.sample_gate, in: arrays.sample_in, row: arrays.sample_example, position: arrays.sample_position,
    ids: fromVarints(arrays.sample_token), at: arrays.sample_at, start: [],
  };
  start = 0;
  for (const count of arrays.sample_length) { sample.start.push(start); start += count; }
  sample.start.push(start);
  return {
    ...header, act, examples, sample,
    text: (id) => header.tokens[id],
    kind: (id) => header.kinds[id] ?? 0,
    isSkipped: (id) => skipped.has(id),
  };
}

/** act and post at once, for arrays of gate and in. */
function derived(gate, in_, act) {
  const a = Float32Array.from(gate, act);
  return { gate, in: in_, act: a, post: a.map((value, i) => value * in_[i]) };
}

/** The largest value in size of a case, or null. Where the gate is open act's is the gate's (record.py has the twin). */
function firstExtreme(stats, quantity, act) {
  const places = stats.extreme[quantity];
  if (places) return places[0]?.value ?? null;
  const gate = firstExtreme(stats, "gate", act);
  return gate === null ? null : Math.fround(act(gate));
}

/** The case of a token, or null where gate or in is 0, or not a number. */
function caseOf(gate, in_) {
  if (!gate || !in_) return null;
  return `gate${gate > 0 ? "+" : "-"}_in${in_ > 0 ? "+" : "-"}`;
}

/** What `window.neuron` offers: what `NeuronPage.window` has and more of the record, in plain arrays. */
function plainNeuron(data) {
  const view = viewOf(data, data.convention);
  const examples = {};
  for (const [row, example] of view.examples) {
    examples[row] = { tokens: Array.from(example.ids, data.text), source: example.source };
    const shown = (value) => (Number.isNaN(value) ? null : value);
    for (const quantity of QUANTITIES) examples[row][quantity] = Array.from(example[quantity], shown);
    if (example.weight) examples[row].weight = Array.from(example.weight, shown);
  }
  const { run, layer, neuron, expert, reached, convention, sign, act_fn, cases, provenance, weights } = data;
  const { gate, in: in_, row, position } = data.sample;
  const sample = { gate: [...gate], in: [...in_], example: [...row], position: [...position] };
  const own = expert ? { expert, ...(reached === undefined ? {} : { reached }) } : {};
  const said = data.descriptions ? { descriptions: data.descriptions } : {};
  return { run, layer, ...own, ...said, neuron, convention, cases, examples, sign, act_fn, sample, weights, provenance };
}

/** What a file of this neuron is called. */
const fileName = ({ run, layer, expert, neuron }, kind) => `${run}-L${layer}-${expert ? `${expert}-` : ""}N${neuron}.${kind}`;
