"""Both ways from half to single precision against numpy's own, for every finite number that there is."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from gluscope.core.half import compiled_from_float16, from_bfloat16, from_float16

ALL = np.arange(1 << 16, dtype=np.uint16)


def test_every_finite_float16() -> None:
    stored = ALL[np.isfinite(ALL.view(np.float16))]
    wanted = stored.view(np.float16).astype(np.float32).view(np.uint32)
    np.testing.assert_array_equal(from_float16(stored).view(np.uint32), wanted)
    out = np.empty(len(stored), np.float32)
    assert compiled_from_float16()(stored, out) is out
    np.testing.assert_array_equal(out.view(np.uint32), wanted)


def test_every_finite_bfloat16() -> None:
    stored = ALL[(ALL & 0x7F80) != 0x7F80]
    wanted = stored.view(ml_dtypes.bfloat16).astype(np.float32).view(np.uint32)
    np.testing.assert_array_equal(from_bfloat16(stored).view(np.uint32), wanted)
