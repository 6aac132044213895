"""A run's statistics as a published activation data set: a folder that `datasets` opens, with its card.

README.md               the data-set card
data-00000-of-00003.arrow, dataset_info.json, state.json    as `save_to_disk` writes them: one row a neuron
samples/layer-00.arrow    gate, in and post of every neuron at the sampled tokens, where the run has some; compressed

Where the model has experts both have a column `expert`, and samples of a routed expert's neurons are of those sampled
tokens that reach it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gluscope.core.activation import Activation, act
from gluscope.core.cases import CASES
from gluscope.core.convention import view
from gluscope.core.names import public_name
from gluscope.core.provenance import RunProvenance
from gluscope.core.size import Size
from gluscope.export.neurons import names
from gluscope.export.published import SKIPS, skips_of, to_table
from gluscope.store.atomic import new_folder
from gluscope.store.listing import write_listing
from gluscope.summary.file import SummaryReader
from gluscope.summary.types import LayerSummary, SampleTokens

_FILE_BYTES = 500_000_000
_ROWS_AT_ONCE = 256  # neurons of samples in one batch
SAMPLES = pa.schema(
    [
        ("layer", pa.int64()),
        ("neuron", pa.int64()),
        ("sampled_examples", pa.list_(pa.int64())),
        ("sampled_positions", pa.list_(pa.int64())),
        # As they are stored; post, their product, may leave float16's range.
        ("mlp.hook_post", pa.list_(pa.float32())),
        ("mlp.hook_pre", pa.list_(pa.float16())),
        ("mlp.hook_pre_linear", pa.list_(pa.float16())),
    ]
)


def write_hf(folder: str | Path, summary: str | Path, run: str, say: Callable[[str], None] = print) -> None:
    """Write `folder`, whole or not at all, in the refactored convention whatever the run's is. Memory: two layers."""
    reader = SummaryReader(summary)
    sign, sample, provenance = reader.sign(), reader.sample(), reader.provenance
    function, size = act(provenance.act_fn), Size.of_results(provenance.mixture, reader.n_layers, reader.neurons)

    def layers() -> Iterator[LayerSummary]:
        for layer in range(reader.n_layers):
            yield view(reader.layer(layer), sign[layer], provenance.convention, "refactored")

    with new_folder(folder) as part:
        tables = (_named(to_table(n, whole, provenance.tokens), provenance, n) for n, whole in enumerate(layers()))
        rows = [layer.count for layer in size.layers]
        write_saved(part, tables, rows, _fingerprint(reader.attributes), skips_of(provenance))
        if len(sample.example):
            (part / "samples").mkdir()
            for layer, part_of_run in enumerate(layers()):
                path = part / "samples" / f"layer-{layer:02d}.arrow"
                _write_samples(path, layer, part_of_run, sample, function, provenance)
        (part / "README.md").write_text(_card(reader, run, len(sample.example)), encoding="utf-8")
        write_listing(part)
    say(f"{size.neurons:,} neurons, {len(sample.example):,} sampled tokens")


def _named(table: pa.Table, provenance: RunProvenance, layer: int) -> pa.Table:
    """The table of a layer with a column `expert` behind `layer`, where the model has experts."""
    if provenance.mixture is None:
        return table
    neuron, expert = _names(provenance, layer, len(table))
    table = table.slice(0, len(neuron)).set_column(1, "neuron", pa.array(neuron))
    return table.add_column(1, "expert", pa.array(expert, pa.string()))


def _names(provenance: RunProvenance, layer: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Number and expert of the neurons of a layer, whose axis is `width` long; experts are "" in a dense one."""
    columns = names(provenance.mixture, layer, width)
    count = Size.of_results(provenance.mixture, layer + 1, width).layers[layer].count
    expert = columns.get("expert", np.full(width, "", object))
    return columns["neuron"][:count].astype(np.int64), expert[:count]


def write_saved(
    folder: Path,
    tables: Iterator[pa.Table],
    rows: Sequence[int],
    fingerprint: str,
    skips: dict[str, Any] | None = None,
) -> None:
    """Tables as `save_to_disk` would write them, into an existing folder.

    rows: of each table. skips: as `source.Published` has them; kept in the Arrow schema's metadata, which others
    overlook.
    """
    first = next(tables)
    largest = first.nbytes * max(rows) // max(1, len(first))
    per_file = max(1, _FILE_BYTES // max(1, largest))
    files = -(-len(rows) // per_file)
    names = [f"data-{i:05d}-of-{files:05d}.arrow" for i in range(files)]
    features = {field.name: _feature(field.type) for field in first.schema}
    said = {SKIPS: json.dumps(skips)} if skips else {}
    described = first.schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}}), **said})
    every = chain([first], tables)
    for name in names:
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, described) as writer:
            for table in islice(every, per_file):
                writer.write_table(table.cast(described))
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": "train",
    }
    info = {"citation": "", "description": "", "features": features, "homepage": "", "license": ""}
    for name, content in (("dataset_info.json", info), ("state.json", state)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """An Arrow type as `datasets` writes it."""
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {"dtype": "float32" if pa.types.is_float32(kind) else str(kind), "_type": "Value"}


def _write_samples(
    path: Path,
    layer: int,
    summary: LayerSummary,
    sample: SampleTokens,
    function: Activation,
    provenance: RunProvenance,
) -> None:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    neuron, expert = _names(provenance, layer, summary.neurons)
    schema = SAMPLES if provenance.mixture is None else SAMPLES.insert(1, pa.field("expert", pa.string()))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema, options=options) as writer:
        for begin in range(0, len(neuron), _ROWS_AT_ONCE):
            rows = slice(begin, min(begin + _ROWS_AT_ONCE, len(neuron)))
            gate, in_ = summary.sample_gate[rows], summary.sample_in[rows]
            there = np.ones(gate.shape, bool) if provenance.mixture is None else ~np.isnan(gate)
            columns = {
                "layer": pa.array(np.full(len(gate), layer, np.int64)),
                "expert": pa.array(expert[rows], pa.string()),
                "neuron": pa.array(neuron[rows]),
                "sampled_examples": _ragged(np.broadcast_to(sample.example.astype(np.int64), gate.shape), there),
                "sampled_positions": _ragged(np.broadcast_to(sample.position.astype(np.int64), gate.shape), there),
                "mlp.hook_post": _ragged(function(gate) * in_.astype(np.float32), there),
                "mlp.hook_pre": _ragged(gate, there),
                "mlp.hook_pre_linear": _ragged(in_, there),
            }
            writer.write_table(pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema))


def _ragged(rows: np.ndarray, there: np.ndarray) -> pa.ListArray:
    """[neuron, sample] as a column of lists, of those that are there."""
    offsets = np.concatenate([[0], np.cumsum(there.sum(1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows[there]))


def _fingerprint(attributes: dict[str, Any]) -> str:
    """What `datasets` tells data sets apart by: 16 digits that change with what the numbers come from."""
    return hashlib.sha256(json.dumps(attributes, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _card(reader: SummaryReader, run: str, sampled: int) -> str:
    folder = Path(__file__).parent / "templates"
    templates = Environment(loader=FileSystemLoader(folder), undefined=StrictUndefined, trim_blocks=True)
    templates.filters |= {"code": _code, "name": public_name}
    return (
        templates.get_template("card.md.j2").render(
            run=run,
            provenance=reader.provenance,
            layers=reader.n_layers,
            neurons=Size.of_results(reader.provenance.mixture, reader.n_layers, reader.neurons).neurons,
            sampled=sampled,
            cases=[case.value for case in CASES],
        )
        + "\n"
    )


def _code(value: Any) -> str:
    """Any text as code in Markdown, on one line."""
    return f"`{' '.join(str(value).replace('`', chr(39)).split())}`"
