"""The tables of docs/performance.md from what was measured, goals beside them."""

from __future__ import annotations

from gluscope.bench import profile
from gluscope.bench.floor import DISK, PAPER_TOKENS, PRODUCT_TOKENS, USED, data_sheet, floor, on_paper
from gluscope.bench.forward import Forward
from gluscope.bench.growth import Growth
from gluscope.bench.report import Bar, Group, Row, Table, percent, ratio
from gluscope.bench.run import Results
from gluscope.bench.timing import Spread

_REDUCTION, _CACHED, _PAGE, _BULK, _READ = 0.05, 1.20, 1.0, 0.1, 1e9
_ITEM = {"float32": 4, "float16": 2, "bfloat16": 2}


def tables(found: Results) -> list[Table]:
    """Of what was measured; of what concerns a CPU alone, on a CPU."""
    made = {
        _forward: found.forward, _tokens: found.forward, _texts: found.growth, _profile: found.profiles,
        _floor: found.ceilings, _fixed: found.fixed, _writing: found.written,
        _pages: found.pages, _merge: found.merges,
    }  # fmt: skip
    on_paper = [on_paper_table()] if found.device == "cpu" and found.forward else []
    return [table(found) for table, measured in made.items() if measured] + on_paper


def groups(found: Results) -> list[Group]:
    """For the picture."""
    made = []
    for one in found.forward:
        bars = [
            Bar("plain, again", one.ratio("plain again")),
            Bar("scan", one.ratio("scan"), _scan_goal(one, found.device)),
            *([Bar("scan with cache", one.ratio("scan with cache"), _CACHED)] if one.has("scan with cache") else []),
            Bar("replay", one.replay),
        ]
        if one.has("straightforward"):
            bars.append(Bar("straightforward way", one.ratio("straightforward")))
        steps = _steps(one)
        lines = {
            name: [(sum(one.tokens[:rounds]), one.sum_until(name, rounds)) for rounds in steps]
            for name in ("scan", "scan with cache")
            if one.has(name)
        }
        made.append(Group(_name(one), bars, lines))
    return made


def _name(one: Forward | Growth) -> str:
    shape = one.shape
    return f"d_model {shape.d_model}, d_mlp {shape.d_mlp}, {shape.n_layers} layers"


def _scan_goal(one: Forward, device: str) -> float:
    return 1.10 if device == "cuda" or one.shape.d_model >= 1024 else 1.15


def _steps(one: Forward) -> list[int]:
    """Rounds after which the growth is shown: 1, 4, 16, ..."""
    rounds = len(one.times)
    return [4**i for i in range(8) if 4**i <= rounds]


def _goal(cells: tuple[str, ...], value: float, most: float, text: str) -> Row:
    return Row(cells, text, value <= most)


def _forward(found: Results) -> Table:
    rows = []
    for one in found.forward:
        name, goal = _name(one), _scan_goal(one, found.device)
        scan, share = one.ratio("scan"), one.reduction_share
        rows += [
            Row((name, f"plain pass: {_pace(one, found)}, {one.batching}", "1")),
            Row((name, "plain pass again (null measurement)", ratio(one.ratio("plain again")))),
            _goal((name, "scan without cache", ratio(scan)), scan.median, goal, f"≤ {goal:.2f}"),
            _goal((name, "the reduction timed by itself", percent(share)), share.median, _REDUCTION, "≤ 5 %"),
        ]
        if one.has("scan with cache"):
            cached, rounds = one.ratio("scan with cache"), sum("scan with cache" in times for times in one.times)
            what = "scan with cache" if rounds == len(one.times) else f"scan with cache, first {rounds} rounds"
            rows.append(_goal((name, what, ratio(cached)), cached.median, _CACHED, f"≤ {_CACHED:.2f}"))
        rows += [
            Row((name, f"replay; keeps {_bytes(one.replay_bytes)}", ratio(one.replay))),
        ]
        if one.plans is not None:
            first, again = one.plans
            taken = f"{first / again:.3f}"
            rows.append(
                Row((name, "first pass over new shapes with torch's own choice of attention, to a second", taken))
            )
        if one.has("straightforward"):
            rows.append(Row((name, "TransformerLens cache, stack, eager torch", ratio(one.ratio("straightforward")))))
    tried = "; ".join(
        f"{one.shape.name}: " + ", ".join(f"{name} {time:.0f}" for name, time in one.tried.items())
        for one in found.forward
    )
    note = (
        f"Ratios to the plain pass over the same texts, by rounds that take turns: median (quartiles). Texts per run: "
        f"{', '.join(str(sum(one.texts)) for one in found.forward)}; rounds: "
        f"{', '.join(str(len(one.times)) for one in found.forward)}. Reducer: {found.forward[0].reducer}. "
        f"Batchings tried for the plain pass, µs a token: {tried}."
    )
    return Table("The scan against a plain forward pass", ("shape", "what", "ratio"), rows, note)


def _pace(one: Forward, found: Results) -> str:
    """Time a token, and on a GPU with a data sheet what share of its operations the matrix products are."""
    pace, machine = f"{one.microseconds:.3g} µs a token", data_sheet(found.conditions[0])
    if found.device == "cpu" or machine is None or found.dtype == "float32":
        return pace
    used = one.shape.flop_per_token / (one.microseconds * 1e-6) / machine.flops
    return f"{pace}, {used:.2f} of the {machine.name}'s {machine.flops / 1e12:.0f} TFLOP/s"


def _tokens(found: Results) -> Table:
    rows = []
    for one in found.forward:
        for rounds in _steps(one):
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


def _texts(found: Results) -> Table:
    rows, plain = [], {one.shape.name: one for one in found.forward}
    for one in found.growth:
        first, pass_ = 0, plain.get(one.shape.name)
        for until, each, average in zip(one.until, one.nanoseconds, one.average, strict=True):
            cells: tuple[str, ...] = (_name(one), f"{first + 1}-{until}", f"{each:.3g}")
            if pass_ is None:
                rows.append(Row((*cells, "", "")))
            else:
                whole = pass_.microseconds * 1000 / (one.shape.n_layers * one.shape.d_mlp)
                cells = (*cells, f"{100 * each / whole:.1f} %", f"{100 * average / whole:.1f} %")
                last = until == one.until[-1]
                rows.append(_goal(cells, average / whole, _REDUCTION, "≤ 5 %") if last else Row(cells))
            first = until
    head = ("shape", "texts", "ns a token and neuron", "of the plain pass", "average from the first text on")
    note = (
        "One layer with its matrices, so that more texts can go by than in whole passes. A shard usually has many "
        "hundreds; the last line of a shape is nearest to that."
    )
    return Table("The reduction by the number of texts that a shard has had", head, rows, note)


def _profile(found: Results) -> Table:
    rows = [
        Row((part, *(f"{100 * one.share(part):.1f} %" for one in found.profiles))) for part in profile.PARTS
    ]  # fmt: skip
    head = ("part of a scan with cache", *(f"{one.shape.name}: {one.tokens:,} tokens" for one in found.profiles))
    note = (
        "By timers around the model's modules and around what is done with their values, first texts included. The "
        "cache is written by a thread of its own, whose work shows as slower other parts."
    )
    return Table("Where the time goes", head, rows, note, goals=False)


def _floor(found: Results) -> Table:
    rows = []
    for one, machine in zip(found.forward, found.ceilings, strict=True):
        least = floor(one.shape, machine, _ITEM[found.dtype])
        plain = one.microseconds
        reduction = plain * one.reduction_share.median
        rows += [
            Row((_name(one), "matrix products", f"{machine.flops / 1e9:,.0f} GFLOP/s", f"{least.pass_ * 1e6:.1f}",
                 f"{plain:.1f} (plain pass)")),
            Row((_name(one), "gate, in, act, post read once", f"{machine.bytes / 1e9:,.0f} GB/s",
                 f"{least.reduction * 1e6:.1f}", f"{reduction:.1f} (reduction)")),
        ]  # fmt: skip
    head = ("shape", "least work", "measured ceiling", "floor, µs a token", "found, µs a token")
    note = (
        f"Ceilings: a product of {PRODUCT_TOKENS[found.device]} tokens with one of the MLP's matrices, and a copy, "
        "bytes read and written; the best of 20, in this run. Attention's own products are not in the floor. What a "
        "processor's caches still hold need not come from memory, so that the second floor can be undercut."
    )
    return Table("The floor on this machine", head, rows, note, goals=False)


def _fixed(found: Results) -> Table:
    rows = [Row((name, f"{taken:.2f}")) for name, taken in found.fixed.items()]
    rows.append(Row(("together", f"{sum(found.fixed.values()):.2f}")))
    for one in found.forward:
        each = f"write the statistics of {one.shape.n_layers * one.shape.d_mlp:,} neurons"
        rows += [
            Row((each, f"{one.write_out:.2f}")),
            Row((f"finish the cache of {_bytes(one.cache_bytes)}", f"{one.close:.2f}")),
        ]
    note = "None of it is in the ratios above. The model is the first of those above, its files in memory."
    return Table("Once a job, whatever its number of tokens", ("what", "seconds"), rows, note, goals=False)


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
        note = f"imported: {', '.join(one.heavy)}" if one.heavy else "neither torch nor transformers imported"
        rows += [
            _goal((what, "one page, two cold processes", _seconds(one.both)), one.both.median, _PAGE, "≤ 1 s"),
            Row((what, "of it recompute; page", f"{one.recompute.median:.2f} s; {one.page.median:.2f} s")),
            Row((what, "the same, files not in memory", _seconds(one.disk))),
            _goal((what, "bytes read, imports included", _bytes(one.read)), one.read, _READ, "≤ 1 GB"),
            Row(
                (what, f"peak memory; page; {note}", f"{_bytes(one.memory)}; {_bytes(one.size)}"),
                "no torch",
                not one.heavy,
            ),
        ]
    if found.bulk is not None:
        bulk = found.bulk
        what = f"d_model {bulk.made.shape.d_model}, {bulk.count} pages of a layer"
        both, parts = bulk.recompute + bulk.page, f"{bulk.recompute:.3f} recompute, {bulk.page:.3f} page"
        taken = f"{both:.3f} s ({parts}), {_bytes(bulk.read)} read"
        rows.append(_goal((what, "a page, both processes' start included", taken), both, _BULK, "≤ 0.1 s"))
    note = (
        "From the start of the first process to the end of the second, without Snakemake's own start. Bytes: of all "
        "read calls of both processes; memory maps (two rows of weights, the texts' token ids) are not in it."
    )
    return Table("Pages from the cache", ("shape", "what", "cost"), rows, note)


def _merge(found: Results) -> Table:
    first, rows = found.merges[0], []
    for one in found.merges:
        cells = (
            f"{one.shards} shards of {_bytes(one.shard_bytes)}", f"{one.seconds:.1f} s", _bytes(one.memory),
        )  # fmt: skip
        flat = one.memory / first.memory
        rows.append(
            Row(cells) if one is first else _goal(cells, flat, 1.1, f"memory ≤ 1.1 times that of {first.shards}")
        )
    note = f"{first.layers} layers of {first.neurons} neurons, k = 16, 4096 samples; compiling (2 s) included."
    return Table("Merge", ("what", "time", "peak memory"), rows, note)


def on_paper_table() -> Table:
    """What can't be measured here."""
    rows = [
        Row(
            (
                one.shape.name,
                one.machine,
                f"{one.hours:.2f}",
                f"{100 * one.reduction:.1f} %",
                f"{one.terabytes:.1f}",
                f"{one.write_hours:.2f}",
                one.limit,
                f"{one.cache_hours:.2f}",
                f"{one.replay_hours:.2f}",
            )
        )
        for one in on_paper()
    ]
    head = (
        "model", "GPU", "passes, hours", "reduction, read once", "cache, TB", "writing, hours", "limit with cache",
        "scan with cache, hours", "scan and replay, hours",
    )  # fmt: skip
    note = (
        f"Not measured: {PAPER_TOKENS / 1e6:.0f} million tokens on one GPU, {100 * USED:.0f} % of the data sheet's "
        f"bfloat16 operations, memory at its data sheet's rate, {DISK / 1e9:.0f} GB/s to the disk. "
        "The replay is taken to need every text."
    )
    return Table("On paper", head, rows, note, goals=False)


def _seconds(value: Spread) -> str:
    return f"{value.median:.2f} s ({value.low:.2f}-{value.high:.2f})"


def _bytes(count: float) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"
