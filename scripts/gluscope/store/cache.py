"""The residual cache of a shard: x, the input of every layer's MLP, at every token, for pages without a model.

A zarr group with one array `x` [layer, token, d_model] and, for each text, its row and length. Tokens stand in the
order in which the scan went through them. The files of `x`, one a layer, are written here, byte by byte as the zarr v3
sharding codec lays them out (inner chunks of 128 tokens with a crc32c each, an index with a crc32c at the end), because
appending to a file is many times as fast as any store. zarr, tensorstore and xarray read them.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import google_crc32c
import numpy as np

from gluscope.core.errors import ModelError, StoreError
from gluscope.store.atomic import new_folder
from gluscope.store.summary import folder_of

CHUNK = 128  # tokens
_DAMAGED = "remove it and run the same command again: only it is made anew"
_STORED = {"float16": ("float16", "<f2"), "bfloat16": ("uint16", "<u2")}  # zarr has no bfloat16: its bits are kept
_WAITING = 8  # arrays that may wait for the writing thread


def _crc(data: bytes | memoryview) -> bytes:
    value: int = google_crc32c.value(bytes(data))
    return value.to_bytes(4, "little")


class _LayerFile:
    """One layer's file while it grows: full chunks go to disk, the rest waits."""

    def __init__(self, path: Path, d_model: int, dtype: str) -> None:
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115 - closed by close or abandon
        self._rest = np.empty((0, d_model), dtype)
        self._index: list[tuple[int, int]] = []

    def append(self, x: np.ndarray) -> None:
        x = np.concatenate([self._rest, x]) if len(self._rest) else x
        full = len(x) - len(x) % CHUNK
        for begin in range(0, full, CHUNK):
            self._write(x[begin : begin + CHUNK])
        self._rest = x[full:].copy()

    def close(self) -> None:
        """Write the last, padded chunk and the index."""
        if len(self._rest):
            padding = np.zeros((CHUNK - len(self._rest), self._rest.shape[1]), self._rest.dtype)
            self._write(np.concatenate([self._rest, padding]))
        index = np.array(self._index, "<u8").tobytes()
        self._file.write(index + _crc(index))
        self._file.close()

    def abandon(self) -> None:
        self._file.close()

    def _write(self, chunk: np.ndarray) -> None:
        data = np.ascontiguousarray(chunk).data.cast("B")
        self._index.append((self._file.tell(), len(data) + 4))
        self._file.write(data)
        self._file.write(_crc(data))


class CacheWriter:
    """Writes a shard's cache while the scan runs; a thread of its own does the writing.

        with CacheWriter(path, n_layers=.., d_model=.., dtype="float16", rows=.., lengths=.., attributes=..) as cache:
            cache.append(layer, x)      # x: float16, or bfloat16 as uint16, [token, d_model], in processing order

    rows, lengths: int64 [example], in processing order. Leaving the block puts the folder in place; an exception in it
    leaves nothing. Raises ModelError for float16 values that are not finite, StoreError if the disk is full.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        n_layers: int,
        d_model: int,
        dtype: str,
        rows: np.ndarray,
        lengths: np.ndarray,
        attributes: dict[str, Any],
    ) -> None:
        self._n_layers, self._d_model, self._dtype = n_layers, d_model, dtype
        self._rows, self._lengths = np.asarray(rows, np.int64), np.asarray(lengths, np.int64)
        self._attributes = attributes
        self._tokens = int(self._lengths.sum())
        self._written = np.zeros(n_layers, np.int64)
        self._target = new_folder(folder_of(path))
        self._queue: queue.Queue[tuple[int, np.ndarray] | None] = queue.Queue(_WAITING)
        self._error: BaseException | None = None

    def __enter__(self) -> CacheWriter:
        self._folder = self._target.__enter__()
        with ExitStack() as cleanup:
            cleanup.push(self._target)
            _write_metadata(self._folder, self._n_layers, self._tokens, self._d_model, self._dtype)
            kind = _STORED[self._dtype][1]
            self._layers = [
                _LayerFile(self._folder / f"x/{layer}.0.0", self._d_model, kind) for layer in range(self._n_layers)
            ]
            cleanup.pop_all()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        return self

    def append(self, layer: int, x: np.ndarray) -> None:
        """Hand over the next tokens of a layer; the array must not be changed afterwards."""
        if self._error is not None:
            raise self._error
        self._queue.put((layer, x))

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is not None:
                continue
            try:
                self._write(*item)
            except BaseException as error:  # raised in the scan's thread, at the next append or at the end
                self._error = error

    def _write(self, layer: int, x: np.ndarray) -> None:
        if x.dtype.itemsize != 2 or x.shape[1:] != (self._d_model,):
            raise ValueError(f"x of {x.dtype} {x.shape} for a cache of {self._dtype} [token, {self._d_model}]")
        if self._dtype == "float16" and not np.isfinite(x).all():
            raise ModelError(
                f"layer {layer}",
                "MLP inputs within float16's range (65504)",
                "larger ones",
                "set cache_dtype: bfloat16",
            )
        self._layers[layer].append(x.view(_STORED[self._dtype][1]))
        self._written[layer] += len(x)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        try:
            if kind is None:
                if self._error is not None:
                    raise self._error
                self._finish()
        except BaseException as own:
            for layer in self._layers:
                layer.abandon()
            self._target.__exit__(type(own), own, own.__traceback__)
            raise
        for layer in self._layers:
            layer.abandon()
        self._target.__exit__(kind, error, trace)

    def _finish(self) -> None:
        if (self._written != self._tokens).any():
            raise ValueError(f"tokens written {self._written.tolist()}, announced {self._tokens} for every layer")
        for layer in self._layers:
            layer.close()
        for name, values in (("rows", self._rows), ("lengths", self._lengths)):
            _write_vector(self._folder / name, values)
        attributes = {**self._attributes, "dtype": self._dtype}
        _write_json(self._folder, {"zarr_format": 3, "node_type": "group", "attributes": attributes})


def _write_json(folder: Path, content: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "zarr.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
_CRC = {"name": "crc32c", "configuration": {}}


def _array(shape: list[int], dtype: str, chunk: list[int], codecs: list[Any], dims: list[str]) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}},
        "fill_value": 0,
        "codecs": codecs,
        "dimension_names": dims,
        "attributes": {},
    }


def _write_metadata(folder: Path, n_layers: int, tokens: int, d_model: int, dtype: str) -> None:
    """zarr.json of `x`: a shard is one layer, an inner chunk CHUNK tokens of it."""
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [1, CHUNK, d_model],
            "codecs": [_BYTES, _CRC],
            "index_codecs": [_BYTES, _CRC],
            "index_location": "end",
        },
    }
    whole = [1, max(1, -(-tokens // CHUNK)) * CHUNK, d_model]
    dims = ["layer", "token", "d_model"]
    _write_json(folder / "x", _array([n_layers, tokens, d_model], _STORED[dtype][0], whole, [sharding], dims))


def _write_vector(folder: Path, values: np.ndarray) -> None:
    size = max(1, len(values))
    _write_json(folder, _array([len(values)], "int64", [size], [_BYTES, _CRC], ["example"]))
    data = values.astype("<i8").tobytes()
    if len(values):
        (folder / "0").write_bytes(data + _crc(data))


class CacheReader:
    """Reads single texts of a shard's cache, and no more of it than they take; every chunk's checksum is compared.

    rows, lengths: int64 [example], in stored order; attributes: what the scan wrote. bytes_read counts.
    Raises StoreError for what is missing or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = folder_of(path)
        self.attributes: dict[str, Any] = self._json("zarr.json")["attributes"]
        self.dtype: str = self.attributes["dtype"]
        self.n_layers, self.tokens, self.d_model = self._json("x/zarr.json")["shape"]
        self.bytes_read = 0
        self.rows, self.lengths = (self._vector(name) for name in ("rows", "lengths"))
        self.offsets = np.cumsum(self.lengths) - self.lengths
        if int(self.lengths.sum()) != self.tokens:
            raise self._damage("lengths", f"{self.tokens} tokens in all", str(int(self.lengths.sum())))
        self._place = {int(row): place for place, row in enumerate(self.rows)}
        self._files: dict[int, tuple[int, np.ndarray]] = {}

    def __contains__(self, row: int) -> bool:
        return row in self._place

    def read(self, layer: int, row: int) -> np.ndarray:
        """x of one text at one layer, float32 [token, d_model]."""
        place = self._place[row]
        begin, length = int(self.offsets[place]), int(self.lengths[place])
        first, last = begin // CHUNK, (begin + length - 1) // CHUNK
        file, index = self._open(layer)
        size = CHUNK * self.d_model * 2
        start, stop = int(index[first, 0]), int(index[last, 0] + index[last, 1])
        if (index[first : last + 1, 1] != size + 4).any() or stop - start != (last - first + 1) * (size + 4):
            raise self._damage(f"x/{layer}.0.0", "chunks one after another", "another index")
        data = os.pread(file, stop - start, start)
        self.bytes_read += len(data)
        if len(data) != stop - start:
            raise self._damage(f"x/{layer}.0.0", f"{stop} bytes", "a shorter file")
        chunks = np.frombuffer(data, np.uint8).reshape(-1, size + 4)
        for number, chunk in enumerate(chunks, start=first):
            if _crc(chunk[:size].data) != chunk[size:].tobytes():
                raise self._damage(f"x/{layer}.0.0", f"chunk {number} as it was written", "other bytes (checksum)")
        x = np.ascontiguousarray(chunks[:, :size]).view(_STORED[self.dtype][1]).reshape(-1, self.d_model)
        return _float32(x[begin - first * CHUNK :][:length])

    def close(self) -> None:
        for file, _ in self._files.values():
            os.close(file)
        self._files.clear()

    def __enter__(self) -> CacheReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, layer: int) -> tuple[int, np.ndarray]:
        """A layer's file and its index, uint64 [chunk, (offset, bytes)]."""
        if layer not in self._files:
            name = f"x/{layer}.0.0"
            try:
                file = os.open(self.folder / name, os.O_RDONLY)
            except FileNotFoundError:
                raise self._damage(name, "the file of the layer", "no such file") from None
            size = 16 * max(1, -(-self.tokens // CHUNK)) if self.tokens else 0
            data = os.pread(file, size + 4, max(0, os.fstat(file).st_size - size - 4))
            self.bytes_read += len(data)
            if len(data) != size + 4 or _crc(data[:size]) != data[size:]:
                os.close(file)
                raise self._damage(name, "its index at the end", "other bytes (checksum)")
            self._files[layer] = file, np.frombuffer(data[:size], "<u8").reshape(-1, 2).astype(np.int64)
        return self._files[layer]

    def _json(self, name: str) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StoreError(
                str(self.folder), f"a cache with {name}", "no such file", "run the command that makes it"
            ) from None
        except (ValueError, UnicodeDecodeError):
            raise self._damage(name, "JSON", "something else") from None
        return content

    def _vector(self, name: str) -> np.ndarray:
        (size,) = self._json(f"{name}/zarr.json")["shape"]
        if not size:
            return np.zeros(0, np.int64)
        try:
            data = (self.folder / name / "0").read_bytes()
        except FileNotFoundError:
            data = b""
        if len(data) != 8 * size + 4 or _crc(data[:-4]) != data[-4:]:
            raise self._damage(name, f"{size} numbers with their checksum", "other bytes")
        return np.frombuffer(data[:-4], "<i8").astype(np.int64)

    def _damage(self, part: str, expected: str, found: str) -> StoreError:
        return StoreError(f"{self.folder}: {part}", expected, found, _DAMAGED)


def _float32(stored: np.ndarray) -> np.ndarray:
    """Exact float32 values of float16, or of bfloat16 kept as its bits."""
    if stored.dtype == np.dtype("<u2"):
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)
