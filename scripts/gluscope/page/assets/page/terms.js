// What a word means, where it stands: the help's own sentence, at the pointer, the keyboard's focus or a tap.

/** A word that help explains, for where it stands; `key` names its entry there. */
const termOf = (key, shown = key) => h("dfn", { "data-word": key, tabindex: 0 }, shown);

function showWord(element) {
  const entry = $("help").querySelector(`[data-entry~="${element.dataset.word}"]`);
  tip.replaceChildren(h("div.tip-head", {}, h("strong", {}, entry.textContent)), h("div", {}, ...[...entry.nextElementSibling.childNodes].map((node) => node.cloneNode(true))));
  placeTip(element.getBoundingClientRect());
}

function watchWords() {
  const on = (event) => event.target.closest?.("[data-word]");
  document.addEventListener("pointerover", (event) => { if (on(event)) showWord(on(event)); });
  document.addEventListener("pointerout", (event) => { if (on(event) && document.activeElement !== on(event)) hideTip(); });
  document.addEventListener("focusin", (event) => { if (on(event)?.matches(":focus-visible")) { showWord(on(event)); live.textContent = tip.innerText.replaceAll("\n", ": "); } });
  document.addEventListener("focusout", (event) => { if (on(event)) hideTip(); });
  document.addEventListener("click", (event) => { if (on(event)?.localName === "dfn") showWord(on(event)); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
}
