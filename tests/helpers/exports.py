"""What the exports of two runs, one taken from the other's, have in common."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gluscope.core.precision import UNIT_ROUNDOFF
from gluscope.recompute.types import Recomputed


@dataclass(frozen=True)
class Shown:
    """same_tables: published tables equal to the byte. same_extremes: texts that both site folders show, cut at the
    same token, with values as near as number formats let them be. notes: pages of the second run that say where it
    comes from.
    """

    same_tables: bool
    same_extremes: int
    notes: int


def exported(results: Path, first: str, second: str) -> Shown:
    """Compare the exports of two runs, of the neurons that the second lists; AssertionError where files differ."""
    one, two = (results / run / "export" for run in (first, second))
    table = "hf/data-00000-of-00001.arrow"
    sites = one / "gluscope-site" / first, two / "gluscope-site" / second
    names = [{str(path.relative_to(site)) for path in site.rglob("*.*")} for site in sites]
    folders = {name.rpartition("/")[0] for name in names[1]}
    assert names[1] == {name for name in names[0] if name.rpartition("/")[0] in folders}
    same = 0
    for name in (name for name in sorted(names[1]) if name.endswith(".json")):
        left, right = (json.loads((site / name).read_text(encoding="utf-8")) for site in sites)
        assert (left["tokens"], left["labels"]) == (right["tokens"], right["labels"]), name
        # One from a float16 cache, one from the model. act and post follow from gate and in.
        kept = Recomputed.read(results / first / "neurons" / f"{Path(name).parent}.npz")
        error = np.abs(np.subtract(left["values"], right["values"]))
        u = 2 * UNIT_ROUNDOFF[kept.dtype] + 1e-5
        assert error[:, -2].max() <= u * kept.gate_bound, name
        assert error[:, -3].max() <= u * kept.in_bound, name
        same += 1
    place = one / "neuronpedia"
    sources = json.loads((place / "sources.json").read_text(encoding="utf-8"))
    signs = [f"gate-{gate}-in-{in_}" for gate in ("pos", "neg") for in_ in ("pos", "neg")]
    counts = {f"{layer}-gluscope-{case}": 1 for layer in (0, 1) for case in signs}
    assert sources == {"model": first, "release": f"gluscope-{first}", "sources": counts}
    for layer in (0, 1):
        files = (place / f"v1/{first}/{layer}-gluscope-{case}/activations/batch-0.jsonl.gz" for case in signs)
        assert sum(gzip.decompress(file.read_bytes()).count(b"\n") for file in files) > 8
    pages = [path.read_text(encoding="utf-8") for path in (results / second / "site").glob("L*/N*.html")]
    notes = sum("Statistics are from published activations" in page for page in pages)
    return Shown((one / table).read_bytes() == (two / table).read_bytes(), same, notes)
