// Compressed bytes in the page's text (pack.py has the other half).
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%.()*+-;,=>?@^_`{|}~";

/** Base85: five digits are four bytes; the last group may be shorter. */
function fromText(text) {
  const digit = new Uint8Array(128);
  for (let i = 0; i < 85; i++) digit[DIGITS.charCodeAt(i)] = i;
  const size = Math.floor(text.length * 4 / 5);
  const bytes = new Uint8Array(Math.ceil(text.length / 5) * 4);
  const view = new DataView(bytes.buffer);
  for (let i = 0, out = 0; i < text.length; i += 5, out += 4) {
    let group = 0;
    for (let j = i; j < i + 5; j++) group = group * 85 + (j < text.length ? digit[text.charCodeAt(j)] : 84);
    view.setUint32(out, group);
  }
  return bytes.subarray(0, size);
}

async function gunzip(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
