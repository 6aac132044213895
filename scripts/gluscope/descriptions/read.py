"""Descriptions from somebody's files: a folder of JSON, or one file of JSON or JSON lines."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gluscope.core.errors import DatasetError
from gluscope.core.names import public_name
from gluscope.core.neuron import NeuronId
from gluscope.core.size import Size
from gluscope.descriptions.fields import Foreign
from gluscope.descriptions.neuronpedia import is_beside_explanations, is_explanation, read_explanation
from gluscope.descriptions.transluce import BY, CONFIG, read_record
from gluscope.descriptions.types import Description, Descriptions

_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_READ = (".json", *_LINES)
_AGAIN = "docs/exports.md says which files are read; correct it, or leave it out"


def read_descriptions(place: str | Path, size: Size, convention: str = "raw") -> Descriptions:
    """All descriptions of a file or folder. size: of the model that they are of. convention: of the run, in which what
    is about its exports is understood.

    Of a neuron described twice in the same words the better scored stays. Raises DatasetError, which names file and
    line, for what is damaged, says something else, or is of a neuron that the model lacks.
    """
    place, digest = Path(place), hashlib.sha256()
    config = _config(place)
    by = f"{BY}, by {config['explainer']}" if config.get("explainer") else BY
    found: dict[tuple[int, int], dict[tuple[Any, ...], Description]] = {}
    for file in description_files(place):
        for where, record in _records(file, digest):
            try:
                known_form = read_explanation(record, convention) if is_explanation(record) else read_record(record, by)
                said = list(known_form)
            except Foreign as error:
                raise _refused(where, str(error)) from None
            for neuron, one in said:
                _check_name(place, file, where, neuron)
                known = found.setdefault((neuron.layer, _place(where, neuron, size)), {})
                key = one.cases, one.convention, one.words
                if _rank(one) > _rank(known.setdefault(key, one)):
                    known[key] = one
    if not found:
        raise _refused(str(place), f"descriptions of neurons in files of {', '.join(_READ)}, found none")
    ordered = {at: tuple(sorted(ones.values(), key=_order)) for at, ones in found.items()}
    return Descriptions.build(ordered, public_name(str(place)), digest.hexdigest()[:32], config.get("model", ""))


def description_files(place: Path) -> list[Path]:
    """The files that are read, in order."""
    if not place.is_dir():
        return [place]
    files = [file for file in place.rglob("[!.]*") if file.name.endswith(_READ) and file.name != CONFIG]
    files = [file for file in files if not is_beside_explanations(file)]
    return sorted(files, key=lambda file: [(len(part), part) for part in file.parts])


def dated(place: Path) -> list[str]:
    """What shows by its date that something was added or removed: the file, or the folders, which are few."""
    if not place.is_dir():
        return [str(place)]
    folders = [place, *(path for path in sorted(place.iterdir()) if path.is_dir())]
    folders += [path for folder in folders[1:] for path in sorted(folder.iterdir()) if path.is_dir()]
    return [*map(str, folders), *(str(path) for path in _configs(place) if path.is_file())]


def _configs(place: Path) -> list[Path]:
    return [place / CONFIG, place.parent / CONFIG] if place.is_dir() else []


def _config(place: Path) -> dict[str, str]:
    """What the pipeline says of itself: the model that explains, and the one that is explained."""
    for file in _configs(place):
        if file.is_file():
            [(_, found)] = _records(file, hashlib.sha256())
            exemplars = found.get("exemplar_config") if isinstance(found, dict) else None
            if not isinstance(exemplars, dict):
                raise _refused(str(file), "`exemplar_config` in it, found none")
            told = {"explainer": found.get("explainer_model_name"), "model": exemplars.get("hf_model_id")}
            return {name: public_name(str(value)) for name, value in told.items() if value}
    return {}


def _records(file: Path, digest: Any) -> Iterator[tuple[str, Any]]:
    """The objects of a file, each with where it stands. digest: is fed with what is read."""
    lines = file.name.endswith(_LINES)
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as read:
            for number, line in enumerate(read if lines else [read.read()], 1):
                digest.update(line)
                where = f"{file}, line {number}" if lines else str(file)
                if not lines or line.strip():
                    found = _json(line, where)
                    yield from ((where, one) for one in (found if isinstance(found, list) else [found]))
    except FileNotFoundError:
        raise _refused(str(file), "a file or folder of descriptions, found nothing") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _refused(str(file), f"a whole gzip file, found damage ({error})") from error


def _json(text: bytes, where: str) -> Any:
    try:
        return json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        found = " ".join(str(error).split())[:100] or type(error).__name__
        raise _refused(where, f"JSON in UTF-8, found other text ({found})") from error


def _check_name(place: Path, file: Path, where: str, neuron: NeuronId) -> None:
    """The pipeline's files are named by what they hold: one under another's name is not read as if it were right."""
    named = (file.parent.name, file.stem)
    if place.is_dir() and file.suffix == ".json" and all(part.isdecimal() for part in named):
        layer, number = map(int, named)
        if (layer, number) != (neuron.layer, neuron.neuron):
            raise _refused(where, f"the descriptions of L{layer}/N{number}, by its name, found those of {neuron}")


def _place(where: str, neuron: NeuronId, size: Size) -> int:
    try:
        if neuron.layer >= size.n_layers:
            raise IndexError(neuron)
        return size.place(neuron)
    except IndexError:
        known = f"layers 0 to {size.n_layers - 1}"
        if not size.has_experts:
            known += f", neurons 0 to {size.widest - 1}"
        raise DatasetError(
            where, f"a neuron of the run's model ({known})", str(neuron), "name the descriptions of this model"
        ) from None


def _rank(one: Description) -> float:
    return float("-inf") if one.score is None else one.score


def _order(one: Description) -> tuple[Any, ...]:
    return tuple(case.index for case in one.cases), -_rank(one), one.words


def _refused(where: str, told: str) -> DatasetError:
    """told: "EXPECTED, found FOUND"."""
    expected, _, found = told.partition(", found ")
    return DatasetError(where, expected, found, _AGAIN)
