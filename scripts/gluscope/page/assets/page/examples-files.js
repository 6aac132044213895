// The list that is shown as numbers, for papers: a row an example.

/** Head and rows: rank, row, token's place, the token, its case and its four values. */
function listCells(view, data) {
  const rows = entriesOf(view).map(({ example, position }, rank) => [rank + 1, example.row, position + (example.offset ?? 0), data.text(example.ids[position]),
    caseOf(example.gate[position], example.in[position]) ?? "none", ...QUANTITIES.map((quantity) => Number(example[quantity][position].toPrecision(6)))]);
  return [["rank", "row", "position", "token", "case", ...QUANTITIES], ...rows];
}

const inCsv = (cell) => (/[",\n\r]/.test(String(cell)) ? `"${String(cell).replaceAll('"', '""')}"` : String(cell));
const tex = (text) => text.replace(/[\\{}$&#_%^~]/g, (c) => (c === "\\" ? "\\textbackslash{}" : "^~".includes(c) ? `\\${c}{}` : `\\${c}`));

/** A table for LaTeX with booktabs; tokens as they are displayed, spaces as \\textvisiblespace. */
function latexOf([head, ...rows]) {
  const text = (cell) => tex(unhide(String(cell)).replaceAll("\n", "↵").replaceAll("\t", "⇥")).replaceAll(" ", "\\textvisiblespace{}").replaceAll("↵", "$\\hookleftarrow$").replaceAll("⇥", "$\\rightarrow$");
  const cell = (value, i) => (i === 3 ? `\\texttt{${text(value)}}` : i === 4 ? tex(value.replace("_", " ")) : String(value).replace(/^-/, "$-$"));
  const line = (cells) => `${cells.join(" & ")} \\\\`;
  return `\\begin{tabular}{rrrllrrrr}\n\\toprule\n${line(head)}\n\\midrule\n${rows.map((row) => line(row.map(cell))).join("\n")}\n\\bottomrule\n\\end{tabular}\n`;
}

function wireListFiles(data) {
  const name = (kind) => fileName(data, `${state.case}-${state.list}.${kind}`);
  $("list-csv").addEventListener("click", () => save(new Blob([`${listCells(data.view(), data).map((row) => row.map(inCsv).join(",")).join("\n")}\n`], { type: "text/csv" }), name("csv")));
  $("list-latex").addEventListener("click", () => save(new Blob([latexOf(listCells(data.view(), data))], { type: "text/x-tex" }), name("tex")));
}
