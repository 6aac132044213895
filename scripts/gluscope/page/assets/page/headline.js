// The line that says it all; the text is headline.py's.
function drawHeadline(view) {
  $("headline").replaceChildren(...view.headline.map(([text, kind]) => (
    kind === "strong" ? h("strong", {}, text) : kind === "token" ? tokenChip(text) : kind === "word" ? h("bdi.word", {}, unhide(text)) : text)));
}
