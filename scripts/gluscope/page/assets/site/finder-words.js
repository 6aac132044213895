// Search by what is said of neurons, by others or by a language model: words that stand in the cards of their pages.
const saysWords = (site) => site.cards.some((card) => card.said?.length);
const wordsOf = (card, text) => (card.said ?? []).find((words) => words.toLowerCase().includes(text.trim().toLowerCase()));

/** The choice to search so, where anything is said at all. */
function offerWords(site) {
  if (saysWords(site)) $("ask-how").append(h("option", { value: "words" }, "words about a neuron"));
}

/** The answer to such a search. rows: by the row of a neuron, what is said of it. */
function answerInWords(site, text) {
  const found = site.cards.map((card) => [card.layer * site.d_mlp + placeIn(site, card), wordsOf(card, text)]);
  return { text, how: "words", ids: [], rows: new Map(found.filter(([, words]) => words)) };
}

/** The column `times`: 1 for the neurons that are found. */
function fillSaid(site, table, answer) {
  if (table.timesOf === answer) return;
  [table.timesOf, table.timesKey] = [answer, "words"];
  table.columns.times = new Float32Array(site.finder.rows);
  for (const row of answer.rows.keys()) table.columns.times[row] = 1;
}
