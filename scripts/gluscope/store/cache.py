"""The residual cache of a shard: x, the input of every layer's MLP, at every token, for pages without a model.

A zarr group with one array `x` [layer, token, d_model] and, for each text, its row and length. Tokens stand in the
order in which the scan went through them, texts one after another, without padding. There is one file a layer.
bfloat16, which zarr-python lacks, is kept as its bits in uint16; the attribute `cache_dtype` says so.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from gluscope.core.errors import ModelError, StoreError
from gluscope.core.half import from_bfloat16, from_float16
from gluscope.core.schema import CACHE
from gluscope.store.appender import CHUNK, Backlog, Infinite, LayerFile
from gluscope.store.atomic import new_folder
from gluscope.store.damage import MISSING, Damaged, refused
from gluscope.store.zarrfile import (
    ItemFile,
    Marks,
    checked,
    document_text,
    folder_of,
    group_text,
    read_group,
    read_index,
)

_AHEAD = 2 << 30  # bytes that are asked for before they are read
_ZARR_TYPE = {"float16": "float16", "bfloat16": "uint16"}
_INFINITE = {"float16": 0x7C00, "bfloat16": 0x7F80}  # bits of infinity; those of NaN are larger
_FLOAT32 = {"float16": from_float16, "bfloat16": from_bfloat16}


def _layer_file(tokens: int, d_model: int) -> ItemFile:
    return ItemFile(tokens, (d_model,), np.dtype("<u2"), CHUNK, 0, False)


def _vector_file(count: int) -> ItemFile:
    return ItemFile(count, (), np.dtype("<i8"), max(1, count), 0, False)


class CacheWriter:
    """Writes a shard's cache while the scan runs; threads of its own do the writing, each that of some layers.

        with CacheWriter(path, n_layers=.., d_model=.., dtype="float16", rows=.., lengths=.., attributes=..) as cache:
            cache.append(layer, x)      # x: float16, or bfloat16 as uint16, [token, d_model], in processing order

    rows, lengths: int64 [example], in processing order. The bytes do not depend on how x is cut into appends. Leaving
    the block puts the folder in place; an exception in it leaves nothing. Raises ModelError for values that are not
    finite in `dtype`, StoreError if the disk is full, at the next append or at the end.
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
        threads: int = 1,
    ) -> None:
        if dtype not in _ZARR_TYPE:
            raise ValueError(f"no cache of {dtype}")
        self._path, self._n_layers, self._d_model, self._dtype = folder_of(path), n_layers, d_model, dtype
        self._rows, self._lengths = np.asarray(rows, np.int64), np.asarray(lengths, np.int64)
        self._attributes = attributes
        self._backlogs = [Backlog(threads) for _ in range(threads)]
        self._error: BaseException | None = None

    def __enter__(self) -> CacheWriter:
        from gluscope.store.checksum import compiled

        compiled()  # now, because compiling holds the interpreter's lock
        with ExitStack() as stack:
            self._folder = stack.enter_context(new_folder(self._path, self._as_good))
            (self._folder / "x").mkdir()
            self._layers = [
                LayerFile(self._folder / f"x/{layer}.0.0", self._d_model, _INFINITE[self._dtype])
                for layer in range(self._n_layers)
            ]
            for layer in self._layers:
                stack.callback(layer.close)
            self._threads = [
                threading.Thread(target=self._work, args=(backlog,), name="cache", daemon=True)
                for backlog in self._backlogs
            ]
            for thread in self._threads:
                thread.start()
            self._stack = stack.pop_all()
        return self

    def append(self, layer: int, x: np.ndarray) -> None:
        """Hand over the next tokens of a layer; the array must not be changed afterwards."""
        if self._error is not None:
            raise self._error
        whole = np.dtype(np.float16) if self._dtype == "float16" else None
        if x.dtype.itemsize != 2 or x.shape[1:] != (self._d_model,) or (whole is not None and x.dtype != whole):
            raise ValueError(f"x of {x.dtype} {x.shape} for a cache of {self._dtype} [token, {self._d_model}]")
        self._backlogs[layer % len(self._backlogs)].put((layer, x))

    def _work(self, backlog: Backlog) -> None:
        for layer, x in backlog:
            if self._error is not None:
                continue
            try:
                with self._refusing_infinite(layer):
                    self._layers[layer].append(np.ascontiguousarray(x).view("<u2"))
            except BaseException as error:  # raised in the scan's thread, at the next append or at the end
                self._error = error

    @contextmanager
    def _refusing_infinite(self, layer: int) -> Iterator[None]:
        try:
            yield
        except Infinite:
            half = self._dtype == "float16"
            expected = "MLP inputs within float16's range (65504)" if half else "finite MLP inputs"
            step = "set cache_dtype: bfloat16" if half else "check the model: its activations overflow"
            found = "larger ones, or none that are numbers"
            raise ModelError(f"layer {layer}", expected, found, step) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._error = self._error or error  # after one, what still waits need not be written
        for backlog, thread in zip(self._backlogs, self._threads, strict=True):
            backlog.close()
            thread.join()
        try:
            if kind is None:
                if self._error is not None:
                    raise self._error
                self._finish()
        except BaseException:
            self._stack.__exit__(*sys.exc_info())
            raise
        self._stack.__exit__(kind, error, trace)

    def _as_good(self, folder: Path) -> bool:
        """Whether another job has put the same cache in place; one that reads it then goes on undisturbed."""
        try:
            with CacheReader(folder) as other:
                other.check_files()
                return bool(other.attributes == json.loads(json.dumps(self._stored_attributes)))
        except StoreError:
            return False

    @property
    def _stored_attributes(self) -> dict[str, Any]:
        return {**self._attributes, "cache_dtype": self._dtype}

    def _finish(self) -> None:
        tokens, written = int(self._lengths.sum()), [layer.tokens for layer in self._layers]
        if any(count != tokens for count in written):
            raise ValueError(f"tokens written {written}, announced {tokens} for every layer")
        marks = Marks.of_group(self._stored_attributes)
        if tokens:
            for number, layer in enumerate(self._layers):
                with self._refusing_infinite(number):
                    layer.finish(marks.of(f"x/{number}.0.0"))
        else:  # arrays without values have no files
            for number in range(self._n_layers):
                (self._folder / f"x/{number}.0.0").unlink()
        x = replace(CACHE["x"], dtype=_ZARR_TYPE[self._dtype])
        shape = (self._n_layers, tokens, self._d_model)
        documents = {"x": _layer_file(tokens, self._d_model).document(x, shape, axis=1)}
        for name, values in (("rows", self._rows), ("lengths", self._lengths)):
            file = _vector_file(len(values))
            documents[name] = file.document(CACHE[name], values.shape, axis=0)
            (self._folder / name).mkdir()
            if not file.empty:
                (self._folder / name / "0").write_bytes(b"".join(file.encode(values, marks.of(f"{name}/0"))))
        for name, document in documents.items():
            (self._folder / name / "zarr.json").write_bytes(document_text(document))
        (self._folder / "zarr.json").write_bytes(group_text(self._stored_attributes, documents))


class CacheReader:
    """Reads single texts of a shard's cache, and no more of it than they take; every chunk's checksum is compared.

    rows, lengths, offsets: int64 [example], in stored order; attributes: what the scan wrote; dtype: of the stored x.
    bytes_read counts. Needs no zarr. Raises StoreError for what is missing or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = folder_of(path)
        self.bytes_read, self._counting = 0, threading.Lock()
        if not (self.folder / "zarr.json").is_file():
            raise StoreError(str(self.folder), "a cache", "no such file", MISSING)
        with refused(self.folder, "zarr.json"):
            self.attributes, arrays, self._marks = read_group((self.folder / "zarr.json").read_bytes())
            self.dtype: str = self.attributes["cache_dtype"]
            self.n_layers, self.tokens, self.d_model = arrays["x"]["shape"]
            self._chunk: int = arrays["x"]["codecs"][0]["configuration"]["chunk_shape"][1]
        self.rows, self.lengths = (self._vector(name, *arrays[name]["shape"]) for name in ("rows", "lengths"))
        self.offsets = np.cumsum(self.lengths) - self.lengths
        self._place = {int(row): place for place, row in enumerate(self.rows)}
        self._files: dict[int, tuple[int, np.ndarray]] = {}

    def __contains__(self, row: int) -> bool:
        return row in self._place

    def read(self, layer: int, row: int) -> np.ndarray:
        """x of one text at one layer, float32 [token, d_model]. Raises KeyError for a text that is not in it."""
        out = np.empty((self._tokens_of(row)[1], self.d_model), np.float32)
        for at, stored in self._stored(layer, row):
            _FLOAT32[self.dtype](stored, out[at : at + len(stored)])
        return out

    def parts(self, layer: int, row: int) -> Iterator[tuple[int, np.ndarray]]:
        """The same a chunk at a time: the first token's place in the text, and x, which the next part overwrites.

        A part stays in the processor's cache. Threads may do this at the same time, after `will_read` of the layer.
        """
        block = np.empty((self._chunk, self.d_model), np.float32)
        for at, stored in self._stored(layer, row):
            yield at, _FLOAT32[self.dtype](stored, block[: len(stored)])

    def _stored(self, layer: int, row: int) -> Iterator[tuple[int, np.ndarray]]:
        """What a text has in each chunk, uint16 [token, d_model], and its place in the text; the next overwrites it."""
        begin, length = self._tokens_of(row)
        if not length * self.d_model:
            return
        with refused(self.folder, f"x/{layer}.0.0"):
            file, places = self._open(layer)
            first, last, _, _ = self._span(places, begin, length)
            data = np.empty(int(places[first, 1]), np.uint8)
            for number in range(first, last + 1):
                self._read_into(data, file, int(places[number, 0]))
                chunk = checked(data, f"chunk {number}").view("<u2").reshape(-1, self.d_model)
                low = number * self._chunk - begin  # of the chunk's first token in the text
                at = max(0, low)
                yield at, chunk[at - low : length - low]

    def will_read(self, layer: int, rows: Iterable[int]) -> None:
        """Tell the system which texts come next, so that a disk looks for them while others are worked on.

        Twice to three times as fast where the files are not in memory. Of very many texts only the first are named.
        """
        texts = [self._tokens_of(row) for row in rows]
        if not texts or not hasattr(os, "posix_fadvise"):
            return
        with refused(self.folder, f"x/{layer}.0.0"):
            file, places = self._open(layer)
            ahead = 0
            for begin, length in texts:
                if length and ahead < _AHEAD:
                    _, _, start, stop = self._span(places, begin, length)
                    os.posix_fadvise(file, start, stop - start, os.POSIX_FADV_WILLNEED)
                    ahead += stop - start

    def check_files(self) -> None:
        """Raises StoreError if a layer's file is missing or cut short."""
        for layer in range(self.n_layers if self.tokens else 0):
            with refused(self.folder, f"x/{layer}.0.0"):
                self._open(layer)

    def close(self) -> None:
        for file, _ in self._files.values():
            os.close(file)
        self._files.clear()

    def __enter__(self) -> CacheReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tokens_of(self, row: int) -> tuple[int, int]:
        place = self._place[row]
        return int(self.offsets[place]), int(self.lengths[place])

    def _span(self, places: np.ndarray, begin: int, length: int) -> tuple[int, int, int, int]:
        """First and last chunk of some tokens, first byte and the one behind the last."""
        first, last = begin // self._chunk, (begin + length - 1) // self._chunk
        return first, last, int(places[first, 0]), int(places[last].sum())

    def _open(self, layer: int) -> tuple[int, np.ndarray]:
        """A layer's file and its index, int64 [chunk, (first byte, bytes)]."""
        if not 0 <= layer < self.n_layers:
            raise IndexError(f"layer {layer} of {self.n_layers}")
        if layer not in self._files:
            layout = replace(_layer_file(self.tokens, self.d_model), per_chunk=self._chunk)
            mark = self._marks.of(f"x/{layer}.0.0")
            file = os.open(self.folder / f"x/{layer}.0.0", os.O_RDONLY)
            try:
                size = os.fstat(file).st_size
                places = read_index(layout.chunks, size, lambda start, length: self._pread(file, length, start), mark)
                if (places[:, 1] != self._chunk * layout.item_bytes + 4).any():
                    raise Damaged("chunks of one size, found several")
            except BaseException:
                os.close(file)
                raise
            self._files[layer] = file, places
        return self._files[layer]

    def _pread(self, file: int, size: int, start: int) -> bytes:
        data = os.pread(file, size, start)
        self.bytes_read += len(data)
        return data

    def _read_into(self, data: np.ndarray, file: int, start: int) -> None:
        found = os.preadv(file, [data.data], start)
        with self._counting:
            self.bytes_read += found
        if found != len(data):
            raise Damaged(f"{len(data)} bytes from {start} on, found {found}")

    def _vector(self, name: str, count: int) -> np.ndarray:
        layout = _vector_file(count)
        with refused(self.folder, f"{name}/0"):
            data = b"" if layout.empty else (self.folder / name / "0").read_bytes()
            self.bytes_read += len(data)
            return np.zeros(0, np.int64) if layout.empty else layout.decode(data, self._marks.of(f"{name}/0"))
