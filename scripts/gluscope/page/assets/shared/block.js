// Compressed bytes in the page's text (pack.py has the other half).
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%.()*+-;,=>?@^_`{|}~";

/** Base85: five digits are four bytes; the last group may be shorter. */
function fromText(text) {
  const digit = new Uint8Array(128);
  for (let i = 0; i < 85; i++) digit[DIGITS.charCodeAt(i)] = i;
  const size = Math.floor(text.length * 4 / 5);
  const bytes = new Uint8Array(Math.ceil(text.length / 5) * 4);
  const view = new DataView(bytes.buffer);
  const at = (i) => (i < text.length ? digit[text.charCodeAt(i)] : 84);
  for (let i = 0, out = 0; i < text.length; i += 5, out += 4) {
    view.setUint32(out, (((at(i) * 85 + at(i + 1)) * 85 + at(i + 2)) * 85 + at(i + 3)) * 85 + at(i + 4));
  }
  return bytes.subarray(0, size);
}

async function gunzip(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Arrays by name: `<f2` becomes Float32Array, the rest integer arrays. */
function readArrays(bytes, start, arrays) {
  const found = {};
  for (const [name, [kind, count]] of Object.entries(arrays)) {
    const size = Number(kind.at(-1));
    const raw = size > 2 ? new Uint32Array(count) : new Uint16Array(count);
    for (let plane = 0; plane < size; plane++) {
      for (let i = 0; i < count; i++) raw[i] |= bytes[start + plane * count + i] << (8 * plane);
    }
    start += size * count;
    found[name] = kind === "<f2" ? fromHalf(raw) : kind === "<i4" ? new Int32Array(raw.buffer) : kind === "|i1" ? Int8Array.from(raw) : raw;
  }
  return found;
}

function fromHalf(raw) {
  const values = new Float32Array(raw.length);
  const powers = Float32Array.from({ length: 32 }, (_, exponent) => 2 ** (Math.max(exponent, 1) - 25)); // of a fraction's last bit
  for (let i = 0; i < raw.length; i++) {
    const exponent = (raw[i] >> 10) & 31;
    const fraction = raw[i] & 1023;
    const size = exponent === 31 ? (fraction ? NaN : Infinity) : (exponent ? 1024 + fraction : fraction) * powers[exponent];
    values[i] = raw[i] & 0x8000 ? -size : size;
  }
  return values;
}
