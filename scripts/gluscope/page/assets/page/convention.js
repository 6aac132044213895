// The sign convention turned: where a neuron's w_in and w_out are negated, in and post change their sign, and in+ and
// in- swap. Nothing else in the page's script knows it.
const CONVENTIONS = ["raw", "refactored"];
const TURNED = ["in", "post"];

/** Whether what is stored reads otherwise in `convention`. */
const isTurned = (data, convention) => data.sign < 0 && convention !== data.convention;

const minus = (value) => (value === null || value === 0 ? value : -value);
const flippedCase = (name) => CASES[CASES.indexOf(name) ^ 1];

/** The statistics by case in `convention`. */
function casesIn(data, convention) {
  if (!isTurned(data, convention)) return data.cases;
  const values = (by, turn) => Object.fromEntries(Object.entries(by).map(([quantity, value]) => [quantity, TURNED.includes(quantity) ? turn(value) : value]));
  return Object.fromEntries(CASES.map((name) => {
    const stats = data.cases[flippedCase(name)];
    const extreme = values(stats.extreme, (places) => places.map((place) => ({ ...place, value: minus(place.value) })));
    return [name, { ...stats, extreme, mean: values(stats.mean, minus) }];
  }));
}

/** The data in `convention`: cases, examples and sample with all four quantities. */
function viewOf(data, convention) {
  const turn = isTurned(data, convention) ? (values) => values.map(minus) : (values) => values;
  const full = (part) => ({ ...part, ...derived(part.gate, turn(part.in), data.act) });
  return {
    convention, cases: casesIn(data, convention), sample: full(data.sample),
    examples: new Map([...data.examples].map(([row, example]) => [row, whenAsked(example, turn, data.act)])),
    headline: data.headline[convention], effect: byCaseIn(data, data.effect, convention), explained: byCaseIn(data, data.explained, convention),
    descriptions: descriptionsIn(data, convention), weights: data.weights?.[convention] ?? null,
  };
}

/** A text whose quantities are computed when one is asked for: a page shows few of its texts at first. */
function whenAsked(example, turn, act) {
  let in_ = null, rest = null;
  return Object.defineProperties({ ...example }, {
    in: { enumerable: true, get: () => (in_ ??= turn(example.in)) },
    ...Object.fromEntries(["act", "post"].map((quantity) => [quantity, {
      enumerable: true, get() { return (rest ??= derived(this.gate, this.in, act))[quantity]; },
    }])),
  });
}

/** What was found by case (measured effects, words) in `convention`; null where there is none. */
function byCaseIn(data, found, convention) {
  if (!found || !isTurned(data, convention)) return found ?? null;
  return { ...found, cases: Object.fromEntries(CASES.map((name) => [name, found.cases[flippedCase(name)]])) };
}

/** What others say by case in `convention`; null where nobody says anything. */
function descriptionsIn(data, convention) {
  if (!data.descriptions || !isTurned(data, convention)) return data.descriptions ?? null;
  return Object.fromEntries(CASES.map((name) => [name, data.descriptions[flippedCase(name)]]));
}

/** Where post is strongest. */
function strongestCase(cases) {
  const size = (name) => Math.abs(cases[name].extreme.post[0]?.value ?? 0);
  return CASES.reduce((best, name) => (size(name) > size(best) ? name : best));
}

/** A place or a region of the address in the other convention. */
function turnedPlace(text) {
  const [place, region] = [numbersOf(text, 2), numbersOf(text, 4)];
  if (place) return `${short(place[0])},${short(minus(place[1]))}`;
  return region ? `${short(region[0])},${short(minus(region[3]))},${short(region[2])},${short(minus(region[1]))}` : text;
}

/** Shows the other convention with the same tokens in view. */
function turnConvention(data, convention) {
  if (convention === state.convention) return;
  const turned = data.sign < 0 ? { case: flippedCase(state.case), near: state.near && turnedPlace(state.near), region: state.region && turnedPlace(state.region) } : {};
  setState({ convention, ...turned });
}
