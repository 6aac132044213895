// The search box: it answers for the pages and for all neurons, by token, by class, by number.
const asked = { text: "", how: "token", answer: null, run: 0 };

/** The lists that the choice of list and case means: {index, lists: their numbers}. */
function listsAsked(site) {
  const [list, where] = [$("ask-list").value, $("ask-case").value];
  const ends = site.finder.ends.lists.indexOf(list);
  if (ends >= 0) return { index: site.finder.ends, lists: [ends] };
  const lists = [];
  site.finder.lists.lists.forEach((name, i) => {
    const [quantity, itsCase] = name.split(" ");
    if ((!list || quantity === list) && (!where || itsCase === where)) lists.push(i);
  });
  return { index: site.finder.lists, lists };
}

const askedFor = () => ({ text: $("search").value, how: $("ask-how").value });
const timesAsked = () => Math.max(1, $("ask-times").valueAsNumber || 1);
const neuronAsked = neuronNamed;
const layerAsked = (text) => /^\s*L\d+\/?N?\s*$/i.test(text);
const classesAsked = (site, text) => (text.length < 4 || text !== text.trim() || !site.finder.weights ? []
  : site.finder.classes.filter((name) => name.includes(text.trim().toLowerCase())));

/** Whether the search is one for tokens of all neurons. */
const asksTokens = (text) => Boolean(text) && !neuronAsked(text) && !layerAsked(text);

/** Finds the neurons that answer to what is typed; then `done()`. */
async function ask(site, table, done) {
  const { text, how } = askedFor();
  const { index } = listsAsked(site);
  const run = ++asked.run;
  if (!asksTokens(text)) { asked.answer = null; return done(); }
  if (how === "words") { asked.answer = answerInWords(site, text); $("finder").classList.remove("asking"); return done(); }
  const known = asked.answer;
  if (known?.counts && known.text === text && known.how === how && known.index === index) return done();
  const ids = tokensMeant(table, text, how);
  const answer = { text, how, index, ids, counts: null };
  if (!ids.length && classesAsked(site, text).length) { asked.answer = null; return done(); }
  asked.answer = answer;
  $("finder").classList.add("asking");
  try {
    const counts = await countTokens(site, index, ids, (read, files) => {
      if (files > 4) $("finder-found").textContent = `searching: ${read} of ${files} files`;
      return run === asked.run;
    });
    if (!counts) return;
    answer.counts = counts;
  } catch (error) {
    answer.failed = `The data of all neurons cannot be read: ${error.message}.`;
  }
  $("finder").classList.remove("asking");
  done();
}

/** The column `times`: at most at how many places of the lists asked about the tokens stand; none without an answer. */
function fillTimes(site, table) {
  const { columns } = table;
  const { answer } = asked;
  if (answer?.rows) return fillSaid(site, table, answer);
  if (!answer?.counts) { delete columns.times; table.timesOf = null; return; }
  const { index, lists } = listsAsked(site);
  if (index !== answer.index) return;
  const key = lists.join();
  if (table.timesOf === answer && table.timesKey === key) return;
  [table.timesOf, table.timesKey] = [answer, key];
  const width = index.lists.length;
  columns.times = new Float32Array(site.finder.rows);
  for (let row = 0, start = 0; row < site.finder.rows; row++, start += width) {
    let most = 0;
    for (const list of lists) if (answer.counts[start + list] > most) most = answer.counts[start + list];
    columns.times[row] = most;
  }
}

/** The lists of a neuron that have the tokens asked for, the fullest first: [[name, times], ...]. */
function listsFound(site, row) {
  const { index, lists } = listsAsked(site);
  const width = index.lists.length;
  return lists.map((list) => [index.lists[list], asked.answer.counts[row * width + list]])
    .filter(([, times]) => times).sort((a, b) => b[1] - a[1]);
}

/** "post gate+ in+ 12", or "w_out top: 3rd". */
function listLabel(site, [name, times]) {
  if (site.finder.ends.lists.includes(name)) return `${endLabel(name)}: place ${11 - times}`;
  const [quantity, itsCase] = name.split(" ");
  return `${quantity} ${caseLabel(itsCase)}: ${times}`;
}

const ENDS = { w_gate: ["w_gate reads +", "w_gate reads −"], w_in: ["w_in reads +", "w_in reads −"], w_out: ["w_out promotes", "w_out suppresses"] };
const endLabel = (name) => ENDS[name.split(" ")[0]][name.endsWith("top") ? 0 : 1];

/** Why nothing passes, as a sentence. */
function emptyAnswer(site, table, filters) {
  const { answer } = asked;
  const shown = (text) => `“${clipped(text.replaceAll(" ", "·"), 40)}”`;
  const others = [filters.class !== "" && "the class", (filters.from !== null || filters.to !== null) && "the layers", filters.ranges.length && "the ranges"].filter(Boolean);
  if (answer?.rows) return others.length && answer.rows.size ? `No neuron passes: ${others.join(" and ")} leave none. Clear them at the left.` : `No words about a neuron that has a page contain ${shown(answer.text)}.`;
  if (answer && !answer.ids.length) {
    return answer.how === "part" ? `No token that the lists or weights of this run name contains ${shown(answer.text)}.`
      : `No token that the lists or weights of this run name is ${shown(answer.text)}. Tokens that contain it: choose “part of a token”.`;
  }
  if (answer?.counts) {
    const most = table.columns.times.reduce((a, b) => Math.max(a, b), 0);
    if (!most) return `${shown(answer.text)} is a token of this run, but stands in none of the lists asked about.`;
    if (most < filters.times) return `${shown(answer.text)} stands at ${most} places of such a list at most; asked were ${filters.times}.`;
  }
  return others.length ? `No neuron passes: ${others.join(" and ")} leave none. Clear them at the left.` : "No neuron passes.";
}

/** The line below the box: how many pages and neurons, and the way to them. */
function sayAnswer(site, pages, neurons, unread = 0) {
  const { text } = askedFor();
  const root = $("asked");
  if (!text) return root.replaceChildren();
  const parts = [];
  const jump = (label, where) => h("button.link", { type: "button", onclick: () => $(where).scrollIntoView() }, label);
  const found = neuronAsked(text);
  if (found) {
    const place = found;
    parts.push(placeIn(site, place) < 0 ? noSuchNeuron(site)
      : opens(site, place) ? h("a", { href: address(place) }, `open ${spoken(place)}`)
        : h("span", {}, `${spoken(place)} has no page yet. To make it: `, h("code", {}, commandFor(site, place))));
  }
  if (pages !== null) parts.push(pages ? jump(`${grouped(pages)} page${pages === 1 ? "" : "s"}`, "pages-section") : "no page");
  if (site.finder && asksTokens(text)) {
    for (const name of classesAsked(site, text)) {
      parts.push(h("button.small", { type: "button", onclick: () => site.keepClass(name) }, `class ${name}`));
    }
    const { answer } = asked;
    if (answer?.failed) parts.push(answer.failed);
    else if (answer?.rows && neurons !== null) parts.push(h("span", {}, jump(`${grouped(neurons)} neuron${neurons === 1 ? "" : "s"}`, "finder"), " by words about them"));
    else if (answer?.counts && neurons !== null) {
      const named = answer.ids.slice(0, 6).map((id) => tokenChip(site.table.tokens[id]));
      const more = unread ? ` (and up to ${grouped(unread)} in layers that are not read)` : "";
      parts.push(h("span", {}, jump(`${grouped(neurons)} neuron${neurons === 1 ? "" : "s"}`, "finder"), more, " by ",
        grouped(answer.ids.length), ` token${answer.ids.length === 1 ? "" : "s"} `, spaced(named), answer.ids.length > 6 ? "…" : ""));
    } else if (answer) parts.push("searching all neurons …");
  }
  root.replaceChildren(...parts.flatMap((part, i) => [i ? " · " : "", part]));
}

/** Choices of lists and cases. */
function nameLists(site) {
  offerWords(site);
  const { lists, ends, k } = site.finder;
  const quantities = ["post", "in", "gate", "act"];
  $("ask-list").replaceChildren(h("option", { value: "" }, "any list"), ...quantities.map((name) => h("option", { value: name }, `extremes of ${name}`)),
    ...(site.finder.weights ? [h("optgroup", { label: "weights" }, ends.lists.map((name) => h("option", { value: name }, endLabel(name))))] : []));
  const cases = [...new Set(lists.lists.map((name) => name.split(" ")[1]))];
  $("ask-case").replaceChildren(h("option", { value: "" }, "any case"), ...cases.map((name) => h("option", { value: name }, caseLabel(name))));
  $("ask-times").max = k;
  $("ask-k").textContent = `of ${k}`;
}
