"""Whether files that are there were made as the config asks now. Each says with what it was made: settings, versions
of stages, and from which inputs.

Snakemake's own record of that lies in `.snakemake/`: there is none for results that were carried to another clone, nor
for what a job finished after its Snakemake had died. Used while Snakemake plans, so nothing heavy is imported.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gluscope.core.errors import GluscopeError
from gluscope.core.paths import DatasetPaths, RunPaths
from gluscope.dataset.plan import Plan
from gluscope.dataset.record import TokenRecord
from gluscope.model.spec import ModelSpec
from gluscope.model.unchanged import revision_now
from gluscope.workflow.flow import Flow

_TOLD = 5


@dataclass(frozen=True)
class Otherwise:
    """A file that was made otherwise than it is asked for. what: the key, version or input that differs."""

    file: str
    what: str
    asked: str
    made: str

    def __str__(self) -> str:
        return f"{self.file} was made with {self.what} {self.made}, asked for is {self.asked}: it is made again."


def made_otherwise(flow: Flow, stage: str, wildcards: Mapping[str, str], recorded: bool) -> Iterator[Otherwise]:
    """Of the files that a stage's job makes those that are there and were made otherwise, each with the first reason.

    recorded: whether Snakemake has a record of how they were made. Then it has compared the user's own files by their
    dates; without one they are read. What is damaged is left to its readers.
    """
    look = _LOOKS.get(stage)
    if look is None:
        return
    try:
        yield from look(flow, wildcards, recorded)
    except (GluscopeError, OSError, ValueError, KeyError):
        return


def lines(found: list[Otherwise]) -> list[str]:
    """For people: the first few, and how many more."""
    more = len(found) - _TOLD
    return [str(each) for each in found[:_TOLD]] + ([f"And {more} more files were made otherwise."] if more > 0 else [])


def _first(file: str, asked: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[Otherwise]:
    """The first key in which the two differ; what the file does not say counts as none."""
    for key, value in json.loads(json.dumps(asked)).items():
        if made.get(key) != value:
            yield Otherwise(file, key, _short(value), _short(made.get(key, "none")))
            return


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:45]}..."


def attributes_of(file: str) -> dict[str, Any] | None:
    """Attributes of a store, by its zarr.json or zip file; None where there is none that can be read."""
    try:
        if file.endswith(".zip"):
            with zipfile.ZipFile(file) as archive:
                text = archive.read("zarr.json")
        else:
            text = Path(file).read_bytes()
        found = json.loads(text)["attributes"]
        return found if isinstance(found, dict) else None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, NotImplementedError, EOFError):
        return None


def _compare(files: Iterable[str], asked: Mapping[str, Any]) -> Iterator[Otherwise]:
    for file in files:
        if (made := attributes_of(file)) is not None:
            yield from _first(file, asked, made)


def _model(flow: Flow, wildcards: Mapping[str, str], recorded: bool) -> Iterator[Otherwise]:
    run = wildcards["run"]
    file, keys = RunPaths(run).model, flow.settings("fetch_model", run)
    if not Path(file).exists():
        return
    spec = ModelSpec.read(file)
    old = list(_first(file, _stages(flow, "fetch_model", run), {"stages": spec.stages}))
    if old or recorded:
        yield from old
    elif Path(keys["model"]).is_dir():
        yield from _first(file, {"files of revision": revision_now(Path(keys["model"]))}, _revision(spec.revision))
    else:
        yield from _first(file, {"model": keys["model"]}, {"model": spec.model})


def _stages(flow: Flow, stage: str, run: str | None) -> dict[str, Any]:
    return {"stages": flow.version(stage, run)}


def _revision(revision: str) -> dict[str, str]:
    return {"files of revision": revision}


def _tokens(flow: Flow, wildcards: Mapping[str, str], recorded: bool) -> Iterator[Otherwise]:
    dataset = wildcards["dataset"]
    file, keys = DatasetPaths(dataset).tokens, flow.settings("tokenise", dataset)
    if not Path(file).exists():
        return
    record = TokenRecord.read(DatasetPaths(dataset).folder)
    made = {**asdict(record.settings), "stages": record.stages}
    asked = {key: value for key, value in keys.items() if key in made} | _stages(flow, "tokenise", None)
    found = list(_first(file, asked, made))
    if not found and not recorded:
        found = list(_texts(file, keys, record))
    yield from found


def _texts(file: str, keys: Mapping[str, Any], record: TokenRecord) -> Iterator[Otherwise]:
    """Source and tokenizer by their content, which is read; by their names where they are on a hub."""
    from gluscope.dataset.sources import TOKENIZER_FILES, Located, revision_of

    parts = (("source", record.source, None), ("tokenizer", record.tokenizer, TOKENIZER_FILES))
    for name, made, names in parts:
        asked = keys[name]
        if made is None or asked is None:
            continue
        if Path(asked).exists():
            now = {f"the {name} of revision": revision_of(Located(asked, asked), names)}
            differs = list(_first(file, now, {f"the {name} of revision": made["revision"]}))
        else:
            differs = list(_first(file, {name: asked}, {name: made["id"]}))
        if differs:
            yield differs[0]
            return


def _plan(flow: Flow, wildcards: Mapping[str, str], recorded: bool) -> Iterator[Otherwise]:
    file, asked = RunPaths(wildcards["run"]).plan, flow.settings("plan_shards", wildcards["run"])
    if Path(file).exists():
        plan, stages = Plan.read(file), _stages(flow, "plan_shards", wildcards["run"])
        yield from _first(
            file, {"shards": asked["shards"], **stages}, {"shards": len(plan.shards), "stages": plan.stages}
        )


def _scan(flow: Flow, wildcards: Mapping[str, str], recorded: bool) -> Iterator[Otherwise]:
    run, shard = wildcards["run"], wildcards["shard"]
    paths = RunPaths(run)
    asked = _of_model(paths, flow.scanned_with(run))
    if Path(paths.plan).exists():
        plan = Plan.read(paths.plan)
        asked |= {"plan": plan.base, "rows_digest": plan.shard(shard).digest}
    found = list(_compare([paths.scan(shard)], asked))
    if not found and flow.run(run).cache:
        found = list(_compare([paths.cache(shard)], {**asked, "cache_dtype": flow.run(run).cache_dtype}))
    yield from found


def _of_model(paths: RunPaths, asked: dict[str, Any]) -> dict[str, Any]:
    """`asked` with the revision that results are to be of, and the number format that `dtype` stands for.

    Where the model is still to be described neither is known, and neither is compared.
    """
    try:
        spec = ModelSpec.read(paths.model)
    except GluscopeError:
        return {key: value for key, value in asked.items() if (key, value) != ("dtype", "auto")}
    format = {"dtype": spec.number_format(asked["dtype"])} if "dtype" in asked else {}
    return {**asked, **format, "model_revision": spec.revision}


def _of_tokens(flow: Flow, run: str) -> dict[str, Any]:
    try:
        return {"dataset_fingerprint": TokenRecord.read(flow.dataset_of(run).paths.folder).fingerprint}
    except GluscopeError:
        return {}


def _summary(flow: Flow, wildcards: Mapping[str, str], recorded: bool) -> Iterator[Otherwise]:
    run = wildcards["run"]
    paths = RunPaths(run)
    asked = flow.scanned_with(run)
    asked["stages"] = {**asked["stages"], **flow.version("merge", run)}
    about = {**_of_model(paths, asked), **_convention(flow, run), **_of_tokens(flow, run)}
    yield from _compare([paths.summary], about)


def _taken(flow: Flow, wildcards: Mapping[str, str], recorded: bool) -> Iterator[Otherwise]:
    run = wildcards["run"]
    keys = flow.settings("take_activations", run)
    asked = {"k": keys["k"], "dtype": keys["dtype"], "stages": flow.version("take_activations", run)}
    paths = RunPaths(run)
    about = {**_of_model(paths, asked), **_convention(flow, run), **_of_tokens(flow, run)}
    yield from _compare([paths.summary], about)


def _convention(flow: Flow, run: str) -> dict[str, str]:
    return {"convention": "refactored" if flow.run(run).refactor_glu else "raw"}


def _weights(flow: Flow, wildcards: Mapping[str, str], recorded: bool) -> Iterator[Otherwise]:
    paths = RunPaths(wildcards["run"])
    yield from _compare([paths.weights], _of_model(paths, {"stages": flow.version("weights", wildcards["run"])}))


def _replay(flow: Flow, wildcards: Mapping[str, str], recorded: bool) -> Iterator[Otherwise]:
    run = wildcards["run"]
    paths = RunPaths(run)
    asked = {"stages": flow.version("replay", run), "settings": flow.settings("replay", run)}
    files = [paths.replay(wildcards["shard"])]
    yield from _compare(files, {**_of_model(paths, asked), **_of_tokens(flow, run)})


def _version(flow: Flow, wildcards: Mapping[str, str], recorded: bool) -> Iterator[Otherwise]:
    run, stage = wildcards["run"], wildcards["stage"]
    file = RunPaths(run).version(stage)
    if Path(file).exists():
        made = json.loads(Path(file).read_text(encoding="utf-8"))
        if isinstance(made, dict):
            yield from _first(file, {"stages": flow.version(stage), "settings": flow.settings(stage, run)}, made)


_Look = Callable[[Flow, Mapping[str, str], bool], Iterator[Otherwise]]
_LOOKS: dict[str, _Look] = {
    "fetch_model": _model,
    "tokenise": _tokens,
    "plan_shards": _plan,
    "scan": _scan,
    "merge": _summary,
    "take_activations": _taken,
    "weights": _weights,
    "replay": _replay,
    "stage_version": _version,
}
