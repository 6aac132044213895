"""A run's statistics as a published activation data set: a folder that `datasets` opens, with its card.

README.md               the data-set card
data-00000-of-00003.arrow, dataset_info.json, state.json    as `save_to_disk` writes them: one row a neuron
samples/layer-00.arrow    gate, in and post of every neuron at the sampled tokens, where the run has some; compressed
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
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
from gluscope.export.published import SKIPS, lists, skips_of, to_table
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
    function = act(provenance.act_fn)

    def layers() -> Iterator[LayerSummary]:
        for layer in range(reader.n_layers):
            yield view(reader.layer(layer), sign[layer], provenance.convention, "refactored")

    with new_folder(folder) as part:
        tables = (_named(to_table(n, whole, provenance.tokens), provenance, n) for n, whole in enumerate(layers()))
        write_saved(part, tables, reader.n_layers, _fingerprint(reader.attributes), skips_of(provenance))
        if len(sample.example) and provenance.mixture is None:  # other tools expect all tokens at every neuron
            (part / "samples").mkdir()
            for layer, part_of_run in enumerate(layers()):
                path = part / "samples" / f"layer-{layer:02d}.arrow"
                _write_samples(path, layer, part_of_run, sample, function)
        (part / "README.md").write_text(_card(reader, run, len(sample.example)), encoding="utf-8")
        write_listing(part)
    size = Size.of_results(provenance.mixture, reader.n_layers, reader.neurons)
    say(f"{size.neurons:,} neurons, {len(sample.example):,} sampled tokens")


def _named(table: pa.Table, provenance: RunProvenance, layer: int) -> pa.Table:
    """The table of a layer with a column `expert` behind `layer`, where the model has experts."""
    if provenance.mixture is None:
        return table
    columns, count = (
        names(provenance.mixture, layer, len(table)),
        Size.of_results(provenance.mixture, layer + 1, len(table)).layers[layer].count,
    )
    table = table.set_column(1, "neuron", pa.array(columns["neuron"], pa.int64()))
    return table.add_column(1, "expert", pa.array(columns["expert"], pa.string())).slice(0, count)


def write_saved(
    folder: Path, tables: Iterator[pa.Table], count: int, fingerprint: str, skips: dict[str, Any] | None = None
) -> None:
    """`count` tables of about equal size as `save_to_disk` would write them, into an existing folder.

    skips: as `source.Published` has them; kept in the Arrow schema's metadata, which others overlook.
    """
    first = next(tables)
    per_file = max(1, _FILE_BYTES // max(1, first.nbytes))
    files = -(-count // per_file)
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


def _write_samples(path: Path, layer: int, summary: LayerSummary, sample: SampleTokens, function: Activation) -> None:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, SAMPLES, options=options) as writer:
        for begin in range(0, summary.neurons, _ROWS_AT_ONCE):
            gate = summary.sample_gate[begin : begin + _ROWS_AT_ONCE]
            in_ = summary.sample_in[begin : begin + _ROWS_AT_ONCE]
            count = len(gate)
            columns = [
                pa.array(np.full(count, layer, np.int64)),
                pa.array(np.arange(begin, begin + count, dtype=np.int64)),
                lists(np.tile(sample.example.astype(np.int64), (count, 1))),
                lists(np.tile(sample.position.astype(np.int64), (count, 1))),
                lists(function(gate) * in_.astype(np.float32)),
                lists(gate),
                lists(in_),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=SAMPLES))


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
            neurons=reader.neurons,
            sampled=sampled,
            cases=[case.value for case in CASES],
        )
        + "\n"
    )


def _code(value: Any) -> str:
    """Any text as code in Markdown, on one line."""
    return f"`{' '.join(str(value).replace('`', chr(39)).split())}`"
