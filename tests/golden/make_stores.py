"""Make the stored golden files anew: python tests/golden/make_stores.py. Only when the format changes on purpose."""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1] / "scripts")]

from gluscope.cache.writer import CacheWriter  # noqa: E402
from gluscope.core.cases import LISTS  # noqa: E402
from gluscope.summary.file import write_summary  # noqa: E402
from gluscope.summary.types import LayerSummary, SampleTokens  # noqa: E402

SUMMARY, CACHE = HERE / "summary.zarr.zip", HERE / "cache.zarr.packed.zip"
N_LAYERS, NEURONS, K, D_MODEL = 2, 5, 3, 4
ATTRIBUTES = {"model": "golden", "convention": "raw", "k": K}
SAMPLE = SampleTokens(np.array([1, 1, 8]), np.array([0, 7, 2], np.int32))
SIGN = np.array([[1, -1, 1, 1, -1], [-1, 1, 1, -1, 1]], np.int8)
ROWS, LENGTHS = np.array([3, 9, 4]), np.array([70, 5, 1])


def layer(number: int) -> LayerSummary:
    """Values that a formula gives, so that no random generator has to stay as it is."""
    made = LayerSummary.empty(NEURONS, K, len(SAMPLE.example))
    made.count[:] = np.arange(made.count.size).reshape(made.count.shape) * 1000 + number
    made.sum[:] = np.arange(made.sum.size).reshape(made.sum.shape) / 7 - number
    for neuron in range(NEURONS):
        for case, quantity in LISTS:
            filled = (neuron + case.index) % (K + 1)
            place = neuron, case.index, quantity.index, slice(filled)
            made.extreme_value[place] = (10 + number - np.arange(filled)) / 3 * case.sign(quantity)
            made.extreme_example[place] = 2 * np.arange(filled) + neuron
            made.extreme_position[place] = np.arange(filled) + number
    made.sample_gate[:] = np.arange(made.sample_gate.size).reshape(made.sample_gate.shape) / 8 - 1
    made.sample_in[:] = -made.sample_gate * number
    return made


def x() -> np.ndarray:
    """float16 [layer, token, d_model]."""
    shape = N_LAYERS, int(LENGTHS.sum()), D_MODEL
    return ((np.arange(np.prod(shape)).reshape(shape) % 997 - 500) / 32).astype(np.float16)


def main() -> None:
    layers = [layer(number) for number in range(N_LAYERS)]
    write_summary(SUMMARY, layers, n_layers=N_LAYERS, sample=SAMPLE, attributes=ATTRIBUTES, sign=SIGN)
    how = {"n_layers": N_LAYERS, "d_model": D_MODEL, "dtype": "float16", "attributes": ATTRIBUTES}
    with tempfile.TemporaryDirectory() as folder:
        with CacheWriter(Path(folder, "c"), rows=ROWS, lengths=LENGTHS, **how) as cache:
            for number in range(N_LAYERS):
                cache.append(number, x()[number])
        with zipfile.ZipFile(CACHE, "w", zipfile.ZIP_DEFLATED) as packed:
            for file in sorted(Path(folder, "c").rglob("*")):
                packed.write(file, file.relative_to(Path(folder, "c")))


if __name__ == "__main__":
    main()
