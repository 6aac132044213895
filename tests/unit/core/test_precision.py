"""What a forward pass rounded to, by what its results say of it."""

from __future__ import annotations

from typing import Any

import pytest
from gluscope.core.precision import UNIT_ROUNDOFF, dtype_note
from gluscope.core.provenance import RunProvenance
from helpers.published import SPEC


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"dtype": "float32"}, "float32"),
        ({"dtype": "float32", "tf32": False, "device": "cuda"}, "float32"),
        ({"dtype": "float32", "tf32": True, "device": "cuda"}, "tf32"),
        ({"dtype": "float32", "tf32": True, "device": "cpu"}, "float32"),
        ({"dtype": "float32", "tf32": True}, "tf32"),
        ({"dtype": "bfloat16", "tf32": True, "device": "cuda"}, "bfloat16"),
    ],
)
def test_tf32_counts_where_it_is_used(about: dict[str, Any], expected: str) -> None:
    assert RunProvenance.of(about).forward_format == expected
    assert expected in UNIT_ROUNDOFF
    assert ("TF32" in dtype_note(expected)) == (expected == "tf32")


def test_auto_is_the_checkpoints_own_format() -> None:
    assert SPEC.dtype == "float32"
    assert [SPEC.number_format(dtype) for dtype in ("auto", "bfloat16", "float32")] == [
        "float32",
        "bfloat16",
        "float32",
    ]
