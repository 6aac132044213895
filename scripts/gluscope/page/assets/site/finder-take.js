// What passes, taken away: as text, as a file, as pages to be made, as two neurons side by side.
const MOST_PAGES = 1000, TYPED_PAGES = 20;
const picked = new Set(); // rows

/** The table as lists of cells: a head, then each row. */
function cellsTaken(site, table, rows) {
  const names = Object.keys(table.columns).filter((name) => !["layer", "neuron", "token", "class", "times"].includes(name));
  const answer = table.columns.times && asked.answer?.counts && asked.answer;
  const words = table.columns.times && asked.answer?.rows;
  const { index, lists } = listsAsked(site);
  const head = ["layer", ...(MIXTURE ? ["expert"] : []), "neuron", ...(answer ? ["times", ...lists.map((list) => `times ${index.lists[list]}`)] : []), ...(words ? ["words"] : []), "token", ...names, ...(table.columns.class ? ["class"] : [])];
  const cells = Array.from(rows, (row) => [
    table.columns.layer[row], ...(MIXTURE ? [placeOf(table, row).expert ?? ""] : []), placeOf(table, row).neuron,
    ...(answer ? [table.columns.times[row], ...lists.map((list) => answer.counts[row * index.lists.length + list])] : []),
    ...(words ? [words.get(row) ?? ""] : []), table.tokens[table.columns.token[row]] ?? "", ...names.map((name) => Number(table.columns[name][row].toPrecision(4))),
    ...(table.columns.class ? [site.finder.classes[table.columns.class[row]]] : [])]);
  return [head, ...cells];
}

const inCsv = (cell) => (/[",\n\r]/.test(String(cell)) ? `"${String(cell).replaceAll('"', '""')}"` : String(cell));
const asCsv = (cells) => cells.map((row) => row.map(inCsv).join(",")).join("\n") + "\n";
const asTabs = (cells) => cells.map((row) => row.map((cell) => unhide(String(cell)).replace(/[\t\n\r]/g, (c) => (c === "\t" ? "⇥" : "↵"))).join("\t")).join("\n");

/** Buttons for the rows that pass, or for those that are ticked. `current()` is {table, order}. */
function wireTaking(site, current) {
  const rows = () => (picked.size ? [...picked] : [...(current()?.order ?? [])]);
  $("take-copy").addEventListener("click", (event) => copy(asTabs(cellsTaken(site, current().table, rows())), event.currentTarget));
  $("take-csv").addEventListener("click", () => save(new Blob([asCsv(cellsTaken(site, current().table, rows()))], { type: "text/csv" }), `${site.run}-neurons.csv`));
  $("take-pages").addEventListener("click", () => showMaking(site, current().table, rows()));
  $("take-pair").addEventListener("click", () => showPair(site, current().table, [...picked]));
}

function sayPicked() {
  const [count, two] = [picked.size, picked.size === 2];
  $("take-which").textContent = count ? `${grouped(count)} ticked:` : "All that pass:";
  $("take-pair").disabled = !two;
  $("take-pair").title = two ? "" : "Tick two neurons";
}

const placeOf = (table, row) => neuronAt(table.site, table.columns.layer[row], table.columns.neuron[row]);

/** How pages of these neurons are made: lines of the config, a command; where the site is served, a button. */
function showMaking(site, table, rows) {
  const names = rows.slice(0, MOST_PAGES).map((row) => nameOf(placeOf(table, row)));
  const missing = names.filter((name) => !site.has.has(`${name}.html`));
  const config = `runs:\n  ${site.run}:\n    neurons: [${names.join(", ")}]\n`;
  const targets = missing.length <= TYPED_PAGES ? missing.map((name) => `${site.make}/${name}.html`.split(" ").at(-1)) : [`${site.make}/index.html`.split(" ").at(-1)];
  const command = `${site.make.slice(0, site.make.lastIndexOf(" "))} ${targets.join(" ")}${site.options}`;
  const text = (value, label) => h("div.taken", {}, h("p.muted", {}, label), h("pre", {}, value), h("button.small", { type: "button", onclick: (event) => copy(value, event.currentTarget) }, "copy"));
  const said = h("output.muted");
  const served = LIVE !== null && missing.length > 0;
  const make = served && h("button", { type: "button", id: "take-make", onclick: () => askForPages(missing, said) }, `make ${grouped(missing.length)} page${missing.length === 1 ? "" : "s"} now`);
  const cut = rows.length > MOST_PAGES ? `The first ${grouped(MOST_PAGES)} of ${grouped(rows.length)} neurons. ` : "";
  $("taken").replaceChildren(
    h("p", {}, cut, missing.length ? `${grouped(missing.length)} of ${grouped(names.length)} have no page yet. ` : "All of them have a page.", make, " ", said),
    missing.length ? text(command, missing.length <= TYPED_PAGES ? "This makes them:" : "With these lines in your config, this makes them:") : "",
    text(config, "Lines for your config, by which they stay pages of the site:"));
  $("taken").hidden = false;
}

async function askForPages(neurons, said) {
  said.textContent = "asked …";
  try {
    const answer = await fetch("/make", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ neurons }) });
    const text = (await answer.text()).slice(0, 300);
    said.textContent = answer.ok ? "They are being made; they stand in the list when this page is loaded again." : `The server did not make them (${answer.status}${text && !text.startsWith("<") ? `: ${text}` : ""}). The command below does.`;
  } catch {
    said.textContent = "No server answers here. The command below makes them.";
  }
}

/** How the page of two neurons side by side is made, and where it will be. */
function showPair(site, table, rows) {
  const [one, other] = rows.map((row) => placeOf(table, row)).sort((a, b) => a.layer - b.layer || a.neuron - b.neuron);
  const file = `compare/${site.run}/${nameOf(one)}-${nameOf(other)}.html`;
  const [, command, folder] = /^(.*) (\S+)\/site$/.exec(site.make);
  const line = `${command} ${folder}/${file}${site.options}`;
  $("taken").replaceChildren(h("p", {}, `${nameOf(one)} and ${nameOf(other)} side by side: `, h("a", { href: `../${file}` }, "open"), " once this has made it:"),
    h("pre", {}, line), h("button.small", { type: "button", onclick: (event) => copy(line, event.currentTarget) }, "copy"));
  $("taken").hidden = false;
}
