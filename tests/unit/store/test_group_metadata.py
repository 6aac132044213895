"""What zarr-python itself would write of the same arrays says the same as our metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from gluscope.core.schema import CACHE, PER_RUN, REPLAY, SUMMARY, WEIGHTS, StoredArray
from gluscope.store.group import new_group
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec

ALL = {
    f"{group}-{name}": stored
    for group, arrays in (("s", SUMMARY), ("r", PER_RUN), ("w", WEIGHTS), ("p", REPLAY), ("c", CACHE))
    for name, stored in arrays.items()
}


def by_zarr(path: Path, name: str, stored: StoredArray, ours: Any) -> Any:
    """An array of the same shape, parts and codecs, made by zarr-python alone."""
    codec = ours.metadata.codecs[0]
    array = zarr.create_array(
        zarr.storage.LocalStore(path), name=name, shape=ours.shape, dtype=stored.dtype, fill_value=stored.fill,
        chunks=codec.chunk_shape, shards=ours.metadata.chunk_grid.chunk_shape, serializer=BytesCodec(),
        compressors=[ZstdCodec(level=1), Crc32cCodec()] if stored.compressed else [Crc32cCodec()],
        chunk_key_encoding={"name": "v2", "separator": "."}, dimension_names=stored.dims,
        attributes={"unit": stored.unit, "meaning": stored.meaning},
    )  # fmt: skip
    return array.metadata


@pytest.mark.parametrize("name", ALL)
def test_it_is_what_zarr_makes(tmp_path: Path, name: str) -> None:
    stored = ALL[name]
    layered = stored.dims[0] == "layer" and len(stored.dims) > 1
    values = np.zeros([3] * (len(stored.dims) - layered), stored.dtype)
    with new_group(tmp_path / "ours", {}, n_layers=2) as group:
        for layer in range(2) if layered else [None]:
            group.add(name, stored, values, layer=layer)
    ours = zarr.open_group(tmp_path / "ours", mode="r")[name]
    np.testing.assert_equal(ours.metadata.to_dict(), by_zarr(tmp_path / "zarr", name, stored, ours).to_dict())
    np.testing.assert_array_equal(ours[:], np.zeros(ours.shape))
