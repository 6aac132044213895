"""The tables of docs/performance.md from what was measured, goals beside them."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.forward import Forward
from benchmark.run import Results
from benchmark.timing import Spread

MARKERS = {
    "cpu": ("<!-- measured: written by `make bench` -->", "<!-- end of what was measured -->"),
    "cuda": (
        "<!-- measured on a GPU: written by `scripts/bench.py --device cuda` -->",
        "<!-- end of what was measured on a GPU -->",
    ),
}
_REDUCTION, _CACHED, _PAGE, _BULK, _READ, _MERGED, _CLICK = 0.05, 1.20, 1.0, 0.1, 1e9, 1.1, 0.3
# Data sheets: operations/s in dense bfloat16 with float32 sums, of the SXM modules.
_PEAK = {"A100": 312e12, "H100": 989e12, "H200": 989e12}


@dataclass(frozen=True)
class Row:
    """A line of a table. met: of a goal; None where there is none, or nothing to hold it against."""

    cells: tuple[str, ...]
    goal: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Table:
    """goals: whether the last two columns are the goal and whether it is met. note: a line below."""

    title: str
    head: tuple[str, ...]
    rows: list[Row]
    note: str
    goals: bool = True

    def markdown(self) -> str:
        lines = [self.head, ("---",) * len(self.head), *(row.cells for row in self.rows)]
        if self.goals:
            met = {None: "", True: "yes", False: "**no**"}
            more = [("goal", "met"), ("---", "---"), *((row.goal, met[row.met]) for row in self.rows)]
            lines = [line + end for line, end in zip(lines, more, strict=True)]
        return "\n".join([f"### {self.title}", "", *(f"| {' | '.join(line)} |" for line in lines), "", self.note])


def markdown(found: Results) -> str:
    """What stands between the markers."""
    made = {_forward: found.forward, _tokens: found.forward, _writing: found.written, _pages: found.pages}
    tables = [table(found) for table, measured in (made | {_merge: found.merges}).items() if measured]
    conditions = "\n".join(f"- {line}" for line in found.conditions)
    return "\n\n".join([conditions, *(table.markdown() for table in tables)]) + "\n"


def put(document: str, text: str, device: str = "cpu") -> str:
    """The document with `text` between the device's markers. Raises ValueError where it lacks them."""
    begin, end = MARKERS[device]
    head, began, rest = document.partition(begin)
    _, ended, tail = rest.partition(end)
    if not (began and ended):
        raise ValueError(f"expected the markers {begin} and {end}, found none")
    return f"{head}{begin}\n\n{text}\n{end}{tail}"


def _forward(found: Results) -> Table:
    rows = []
    for one in found.forward:
        wide = found.device == "cuda" or one.shape.d_model >= 1024
        name, goal = _name(one), 1.10 if wide and not one.shape.experts else 1.15
        scan, share, alone = one.ratio("scan"), one.reduction_share, "the reduction timed by itself"
        rows += [
            Row((name, f"plain pass: {_pace(one, found)}, {one.batching}", "1")),
            Row((name, "plain pass again (null measurement)", _ratio(one.ratio("plain again")))),
            _goal((name, "scan without cache", _ratio(scan)), scan.median, goal, f"≤ {goal:.2f}"),
            Row((name, alone, _percent(share)))
            if one.shape.experts
            else _goal((name, alone, _percent(share)), share.median, _REDUCTION, "≤ 5 %"),
        ]
        if one.has("scan with cache"):
            cached, rounds = one.ratio("scan with cache"), sum("scan with cache" in times for times in one.times)
            what = "scan with cache" if rounds == len(one.times) else f"scan with cache, first {rounds} rounds"
            what += f"; {_bytes(one.cache_bytes)}"
            rows.append(_goal((name, what, _ratio(cached)), cached.median, _CACHED, f"≤ {_CACHED:.2f}"))
        if one.replay_bytes:
            rows.append(Row((name, f"replay; keeps {_bytes(one.replay_bytes)}", _ratio(one.replay))))
        if one.plans is not None:
            what = "first pass over new shapes with torch's own choice of attention, to a second"
            rows.append(Row((name, what, f"{one.plans[0] / one.plans[1]:.3f}")))
    tried = "; ".join(
        f"{one.shape.name}: " + ", ".join(f"{name} {time:.0f}" for name, time in one.tried.items())
        for one in found.forward
    )
    reducers = ", ".join(dict.fromkeys(one.reducer for one in found.forward))
    note = (
        f"Ratios to the plain pass over the same texts, by rounds that take turns: median (quartiles). Texts per run: "
        f"{', '.join(str(sum(one.texts)) for one in found.forward)}; rounds: "
        f"{', '.join(str(len(one.times)) for one in found.forward)}. Reducer: {reducers}. "
        f"Batchings tried for the plain pass, µs a token: {tried}."
    )
    return Table("The scan against a plain forward pass", ("shape", "what", "ratio"), rows, note)


def _pace(one: Forward, found: Results) -> str:
    """Time a token, and on a GPU with a data sheet what share of its operations the matrix products are."""
    pace = f"{one.microseconds:{',.0f' if one.microseconds >= 1000 else '.3g'}} µs a token"
    sheet = next((sheet for sheet in _PEAK.items() if sheet[0] in found.conditions[0]), None)
    if found.device == "cpu" or sheet is None or found.dtype == "float32":
        return pace
    used = one.shape.flop_per_token / (one.microseconds * 1e-6) / sheet[1]
    return f"{pace}, {used:.2f} of the {sheet[0]}'s {sheet[1] / 1e12:.0f} TFLOP/s"


def _tokens(found: Results) -> Table:
    rows = []
    for one in found.forward:
        for rounds in [4**i for i in range(8) if 4**i <= len(one.times)]:
            tokens, texts = sum(one.tokens[:rounds]), sum(one.texts[:rounds])
            cached = f"{one.sum_until('scan with cache', rounds):.3f}" if one.has("scan with cache") else ""
            cells = (
                _name(one), f"{tokens:,} ({texts} texts)", f"{one.sum_until('scan', rounds):.3f}", cached,
                f"{100 * one.reduction_until(rounds):.1f} %",
            )  # fmt: skip
            rows.append(Row(cells))
    head = ("shape", "tokens so far", "scan", "scan with cache", "reduction")
    note = "Sums of all rounds so far over the plain pass's: the lists fill up, and the reduction becomes cheaper."
    return Table("Growth with tokens", head, rows, note, goals=False)


def _writing(found: Results) -> Table:
    rows = [
        Row((str(one.threads), "nowhere" if one.nowhere else "files", f"{one.rate / 1e9:.2f}", f"{one.beside:.2f}",
             f"{1000 * one.longest:.1f}"))
        for one in found.written
    ]  # fmt: skip
    head = ("writers", "to", "GB/s", "pace of a thread beside them", "its longest wait, ms")
    note = (
        f"d_model {found.written[0].d_model}; checksums and a search for infinity included. The thread beside them "
        "takes small steps in Python, as one that launches kernels; 1 is its pace alone. With more writers than cores "
        "they share those with it. Files are in memory where the system has /dev/shm."
    )
    return Table("Writers of a cache", head, rows, note, goals=False)


def _pages(found: Results) -> Table:
    rows = []
    for one in found.pages:
        shards = f"{len(one.made.caches)} cache shard" + ("s" if len(one.made.caches) > 1 else "")
        what = f"d_model {one.made.shape.d_model}, {shards}; {one.texts} texts, {one.tokens:,} tokens"
        heavy = f"imported: {', '.join(one.heavy)}" if one.heavy else "neither torch nor transformers imported"
        memory = f"{_bytes(one.memory)}; {_bytes(one.size)}"
        rows += [
            _goal((what, "one page, two cold processes", _seconds(one.both)), one.both.median, _PAGE, "≤ 1 s"),
            Row((what, "of it recompute; page", f"{one.recompute.median:.2f} s; {one.page.median:.2f} s")),
            Row((what, "the same, files not in memory", _seconds(one.disk))),
            _goal((what, "bytes read, imports included", _bytes(one.read)), one.read, _READ, "≤ 1 GB"),
            Row((what, f"peak memory; page; {heavy}", memory), "no torch", not one.heavy),
        ]
    if found.bulk is not None:
        bulk = found.bulk
        what = f"d_model {bulk.made.shape.d_model}, {bulk.count} pages of a layer"
        both, parts = bulk.recompute + bulk.page, f"{bulk.recompute:.3f} recompute, {bulk.page:.3f} page"
        taken = f"{both:.3f} s ({parts}), {_bytes(bulk.read)} read"
        rows.append(_goal((what, "a page, both processes' start included", taken), both, _BULK, "≤ 0.1 s"))
    if found.clicks is not None:
        clicks = found.clicks
        what = f"d_model {clicks.made_up.shape.d_model}, {clicks.texts} texts, {clicks.tokens:,} tokens"
        what += f"; {clicks.count} clicks"
        rows.append(Row((what, "a page in the live site's process, files in memory", _seconds(clicks.made))))
        if clicks.readable is not None:
            shown = "click to readable page in Chromium, which runs on the same cores"
            rows.append(_goal((what, shown, _seconds(clicks.readable)), clicks.readable.median, _CLICK, "≤ 0.3 s"))
    note = (
        "From the start of the first process to the end of the second, without Snakemake's own start. Bytes: of all "
        "read calls of both processes; memory maps (two rows of weights, the texts' token ids) are not in it."
    )
    return Table("Pages from the cache", ("shape", "what", "cost"), rows, note)


def _merge(found: Results) -> Table:
    first, rows = found.merges[0], []
    goal = f"memory ≤ {_MERGED} times that of {first.shards}"
    for one in found.merges:
        cells = (f"{one.shards} shards of {_bytes(one.shard_bytes)}", f"{one.seconds:.1f} s", _bytes(one.memory))
        rows.append(Row(cells) if one is first else _goal(cells, one.memory / first.memory, _MERGED, goal))
    note = f"{first.layers} layers of {first.neurons} neurons, k = 16, 4096 samples; compiling (2 s) included."
    return Table("Merge", ("what", "time", "peak memory"), rows, note)


def _goal(cells: tuple[str, ...], value: float, most: float, text: str) -> Row:
    return Row(cells, text, value <= most)


def _name(one: Forward) -> str:
    shape = one.shape
    mlp = (
        f"{shape.experts} experts of {shape.d_mlp}, {shape.chosen} a token" if shape.experts else f"d_mlp {shape.d_mlp}"
    )
    return f"d_model {shape.d_model}, {mlp}, {shape.n_layers} layers"


def _ratio(value: Spread) -> str:
    return f"{value.median:.3f} ({value.low:.3f}-{value.high:.3f})"


def _percent(value: Spread) -> str:
    return f"{100 * value.median:.1f} % ({100 * value.low:.1f}-{100 * value.high:.1f})"


def _seconds(value: Spread) -> str:
    return f"{value.median:.2f} s ({value.low:.2f}-{value.high:.2f})"


def _bytes(count: float) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"
