// What a language model says of each case, at the head of its card, with its scores. Drawn only if it was asked.
const SCORES = {
  detection: ["finds texts", "Told which texts to look for by these words alone, a model finds them among texts drawn at random"],
  "near misses": ["near misses", "The same among texts with the same token in another case"],
  fuzzing: ["marked token", "Told so, a model knows whether the token that is marked is the right one or another of the text"],
};

function drawWords(root, { explained }) {
  root.querySelectorAll(".in-words, .words-by").forEach((one) => one.remove());
  if (!explained) return;
  for (const card of root.querySelectorAll(".card")) {
    const found = explained.cases[card.dataset.case];
    if (found.texts) card.querySelector("header").after(saidOfCase(found));
  }
  const prompts = Object.entries(explained.prompts).map(([name, version]) => `${name} ${version}`).join(", ");
  root.append(h("p.muted.note.words-by", { title: `prompts: ${prompts}` }, `In words: by ${unhide(explained.model)}, from each case's strongest texts by post. `
    + "Scores: balanced accuracy on other texts, with how many have it + have it not; 0.5 by chance."));
}

function saidOfCase({ words, texts, scores, just_under: [under, yes], unanswered }) {
  if (!words) return h("div.in-words", {}, h("p.muted", {}, "In words: no answer could be used."));
  const parts = Object.entries(SCORES).filter(([name]) => scores[name]).map(([name, [label, meaning]]) => scoreOf(label, meaning, scores[name]));
  const more = [under && `Of ${under} texts just under the list it says yes to ${yes}.`, unanswered && `${unanswered} texts without an answer that could be used are left out.`];
  return h("div.in-words", { title: [`From ${texts} text${texts === 1 ? "" : "s"}.`, ...more].filter(Boolean).join(" ") },
    h("p.saying", { dir: "auto" }, unhide(words)),
    parts.length ? h("p.muted.scores", {}, parts.flatMap((part, i) => [i ? " · " : "", part])) : h("p.muted.scores", {}, "too few texts to judge by"));
}

function scoreOf(label, meaning, { value, true: has, false: lacks, chance }) {
  const title = `${meaning}: balanced accuracy ${value.toFixed(2)} on ${has} + ${lacks} texts. Throwing a coin gives 0.5 ± ${chance.toFixed(2)}.`;
  return h("span", { title }, `${label} `, h("strong", {}, value.toFixed(2)), ` (${has}+${lacks})`);
}
