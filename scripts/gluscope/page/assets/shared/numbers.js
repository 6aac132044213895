// Numbers and words as people read them. numbers.py is the twin, for what is written into the file; a test compares them.

/** Three significant digits, or so many decimals. */
function number(value, { plus = false, decimals = null, digits = 3 } = {}) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return decimals === null ? "0" : (0).toFixed(decimals);
  const sign = value < 0 ? "−" : plus ? "+" : "";
  const size = Math.abs(value);
  if (decimals !== null) return sign + size.toFixed(decimals);
  if (size < 1e-3 || size >= 1e4) return sign + size.toExponential(digits - 1);
  const text = size.toPrecision(digits);
  return sign + (size >= 1000 || text.includes("e") ? String(Math.round(size)) : text);
}

/** A share of all tokens. */
function percent(share) {
  if (share === null) return "unknown";
  if (share === 0) return "0 %";
  if (share < 1e-6) return "< 0.0001 %";
  const value = 100 * share;
  const text = value.toFixed(value >= 10 ? 1 : value >= 0.1 ? 2 : 4);
  return `${text.replace(/\.0$/, "")} %`;
}

const grouped = (count) => count.toLocaleString("en-US");
const caseLabel = (name) => name.replace("_", " ").replaceAll("-", "−");

/** Text of at most `most` characters, and an ellipsis for what was cut. */
function clipped(text, most) {
  const characters = [...text];
  return characters.length > most ? `${characters.slice(0, most).join("")}…` : text;
}

// Characters that would be invisible, turn the text around them, or cannot be encoded; but not joiners that shape the
// letters of a script or join emoji.
const SHAPED = String.raw`\u0620-\u074f\u0750-\u077f\u08a0-\u08ff\u0900-\u0963\u0966-\u0dff\u1000-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc`;
const EMOJI = String.raw`\u2190-\u2bff\u{1f000}-\u{1faff}`;
const JOINER = String.raw`(?<=[${SHAPED}])[\u200c\u200d](?=[${SHAPED}])|(?<=[${EMOJI}\ufe0f])\u200d(?=[${EMOJI}])`;
const HIDDEN = new RegExp(String.raw`(?!${JOINER})[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]`, "gu");

function unhide(text) {
  return text.replace(HIDDEN, (c) => {
    const code = c.codePointAt(0);
    return code < 32 ? String.fromCharCode(0x2400 + code) : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}
