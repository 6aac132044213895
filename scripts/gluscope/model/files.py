"""Files of a model: where they lie, and what a safetensors header says. Imports neither torch nor transformers."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gluscope.core.errors import ModelError
from gluscope.core.size import Size
from gluscope.model.mixture_sizes import mixture_size, speaks_of_experts

INDEX, SINGLE, ADAPTER = "model.safetensors.index.json", "model.safetensors", "adapter_config.json"
_INDEX_SUFFIX = ".safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_LARGEST_HEADER = 100_000_000  # the format's own limit, in bytes
FETCH_AGAIN = "fetch or save the model again"


@dataclass(frozen=True)
class Tensor:
    """A stored tensor: dtype as the format writes it ("F32", "BF16", ...), and its bytes' place in the file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def hub_cache() -> Path:
    """Where hub snapshots are kept on this machine, by the environment variables that the hub's own client reads."""
    for name, below in (("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub")):
        if os.environ.get(name):
            return Path(os.environ[name]).expanduser() / below
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def cached_snapshot(model: str, revision: str | None = None) -> Path | None:
    """Folder of a hub model's snapshot in the cache, if it has one. `revision`: branch, tag or commit."""
    repo = hub_cache() / f"models--{model.replace('/', '--')}"
    try:
        commit = (repo / "refs" / (revision or "main")).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        commit = revision or ""
    folder = repo / "snapshots" / commit
    return folder if commit and folder.is_dir() else None


def peek(model: str, revision: str | None = None) -> Size | None:
    """The neurons of a local or already cached model, from config.json alone; None if not known.

    Takes a millisecond: it is asked while a run is planned, to refuse a neuron that does not exist.
    """
    folder = Path(model) if Path(model).is_dir() else cached_snapshot(model, revision)
    if folder is None:
        return None
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text = config.get("text_config") or config
        if text.get("block_auto_adjust_ff_dim"):  # LFM2: the size of the MLP is worked out from other keys
            return None
        if speaks_of_experts(text):
            return mixture_size(text)
        sizes = text.get("num_hidden_layers"), text.get("intermediate_size")
    except (OSError, ValueError, AttributeError):
        return None
    n_layers, d_mlp = sizes
    return Size.dense(n_layers, d_mlp) if type(n_layers) is int and type(d_mlp) is int else None


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object. Raises ModelError where it is missing or is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(str(path.parent), f"{what} ({path.name})", "no such file", "check the path") from None
    except (OSError, ValueError) as error:
        raise ModelError(str(path), what, f"{type(error).__name__}", FETCH_AGAIN) from error
    if not isinstance(found, dict):
        raise ModelError(str(path), what, f"JSON that is a {type(found).__name__}", FETCH_AGAIN)
    return found


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers loads a model from, sorted: everything here reads these and no others.

    They are those that `transformers_weights` in config.json names, else model.safetensors, else what the index names.
    Raises ModelError if there are none, one is missing, or an adapter lies beside them, which transformers applies or
    not, by what else is installed.
    """
    if (folder / ADAPTER).is_file():
        step = (
            f"merge it (peft's merge_and_unload) and save that model, or take {ADAPTER} away to read the model without"
        )
        raise ModelError(str(folder), "a whole model", f"an adapter beside or without its weights ({ADAPTER})", step)
    first = folder / _named_first(folder)
    files = _indexed(first) if first.name.endswith(_INDEX_SUFFIX) else [first]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelError(str(folder), f"{len(files)} weight files", f"no {missing[0]}", FETCH_AGAIN)
    return files


def _indexed(index: Path) -> list[Path]:
    """The files that an index names, sorted."""
    what = "an index of safetensors files"
    named = read_json(index, what).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise ModelError(str(index), what, "JSON without a weight_map of file names", FETCH_AGAIN)
    return [index.parent / name for name in sorted(set(named.values()))]


def _named_first(folder: Path) -> str:
    """Name of the file, or index, that transformers opens."""
    named = _explicit(folder)
    if named is not None:
        return named
    for name in (SINGLE, INDEX):
        if (folder / name).is_file():
            return name
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    found = f"only {pickles[0]}, a pickle, which could run code and is never opened" if pickles else "none"
    step = "load it where you trust it and save it with save_pretrained" if pickles else "check the path"
    raise ModelError(str(folder), f"weights in safetensors ({SINGLE} or {INDEX})", found, step)


def _explicit(folder: Path) -> str | None:
    """What config.json itself names as the file of weights; only where it is one of this folder."""
    try:
        named = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("transformers_weights")
    except (OSError, ValueError, AttributeError):
        return None
    if named is None:
        return None
    if not isinstance(named, str) or Path(named).name != named or not named.endswith((".safetensors", _INDEX_SUFFIX)):
        found = f"transformers_weights: {named!r} in config.json"
        raise ModelError(str(folder), "a safetensors file of the model's own folder", found, "take that key out")
    return named


def refuse_two_sets(folder: Path) -> None:
    """A folder that was saved twice, once as one file and once in shards, holds two models.

    transformers takes the single file without a word. Two sets of the same numbers do no harm; of the index alone,
    without its files, nothing is read. Raises ModelError where the two differ.
    """
    if _explicit(folder) is not None or not ((folder / SINGLE).is_file() and (folder / INDEX).is_file()):
        return
    files = _indexed(folder / INDEX)
    if files == [folder / SINGLE] or not all(file.is_file() for file in files):
        return
    one, other = read_header(folder / SINGLE), {name: t for file in files for name, t in read_header(file).items()}
    different = [name for name in sorted(one.keys() | other.keys()) if not _same(one.get(name), other.get(name))]
    if different:
        found = f"two, {SINGLE} and the {len(files)} files of {INDEX}, with another {different[0]}"
        step = f"move away the one that is not meant (transformers would read {SINGLE})"
        raise ModelError(str(folder), "one set of weights", found, step)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return all(a == b for a, b in zip(_blocks(one), _blocks(other), strict=True))


def _blocks(tensor: Tensor) -> Iterator[bytes]:
    """Its bytes, some megabytes at a time."""
    with tensor.file.open("rb") as stream:
        stream.seek(tensor.start)
        left = tensor.end - tensor.start
        while left > 0:
            block = stream.read(min(left, 1 << 22))
            yield block
            left -= len(block) or left


def read_header(file: Path) -> dict[str, Tensor]:
    """Tensors of one safetensors file, by name. Raises ModelError for a file that is cut short or is something else."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > _LARGEST_HEADER:
                raise ValueError(f"header of {length} bytes")
            header = json.loads(stream.read(length))
        size = file.stat().st_size - 8 - length
        header.pop("__metadata__", None)
        tensors = {name: _tensor(file, entry, 8 + length) for name, entry in header.items()}
    except FileNotFoundError:
        raise ModelError(str(file), "a safetensors file", "no such file", FETCH_AGAIN) from None
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(str(file), "a safetensors file", f"a damaged header ({error})", FETCH_AGAIN) from error
    needed = max((tensor.end for tensor in tensors.values()), default=0) - 8 - length
    if needed > size:
        raise ModelError(str(file), f"{needed} bytes of weights", f"{size}", FETCH_AGAIN)
    return tensors


def _tensor(file: Path, entry: dict[str, Any], offset: int) -> Tensor:
    start, end = (int(place) for place in entry["data_offsets"])
    tensor = Tensor(file, entry["dtype"], tuple(int(n) for n in entry["shape"]), offset + start, offset + end)
    bytes_each = _BYTES.get(tensor.dtype)
    if start < 0 or (bytes_each is not None and end - start != math.prod(tensor.shape) * bytes_each):
        raise ValueError(f"{tensor.shape} {tensor.dtype} in {end - start} bytes")
    return tensor


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """All tensors of a model by name, from the headers of its safetensors files."""
    found: dict[str, Tensor] = {}
    for file in weight_files(folder):
        found.update(read_header(file))
    return found


def fingerprint(folder: Path) -> str:
    """`sha256:` and the digest of config.json and all weight files, names included."""
    total = hashlib.sha256()
    for file in [folder / "config.json", *weight_files(folder)]:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{file.name} {digest}\n".encode())
    return f"sha256:{total.hexdigest()}"
